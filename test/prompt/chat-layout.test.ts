import { afterAll, describe, expect, it } from 'vitest'
import { ChatLayout, type ChatMessage, compileTemplate } from '../../src/prompt/index.ts'
import type { ContentPart, Tool } from '../../src/prompt/messages.ts'
import { templates } from './templates.ts'

const model = templates.pocket ?? { chatTemplate: null, bosToken: '', eosToken: '', controlTokens: [] }
const chats = new ChatLayout(model)
const chat = (turns: number): ChatMessage[] =>
  Array.from({ length: turns }, (_, turn) => ({
    role: turn % 2 === 0 ? 'user' : 'assistant',
    content: [{ kind: 'text', text: `${turn} <|im_end|>` }, ...image(turn)],
  }))
const image = (turn: number): ContentPart[] => (turn % 10 === 0 ? [{ kind: 'image', attachment: turn / 10 }] : [])

afterAll(() => chats.close())

/** Whether others have their turns while a chat is laid out. */
async function leavesTurns(messages: ChatMessage[], tools: Tool[] = []): Promise<boolean> {
  let hasTurn = false
  const turn = setImmediate(() => {
    hasTurn = true
  })
  await chats.layout(messages, { tools })
  clearImmediate(turn)
  return hasTurn
}

describe('The layout of chats', () => {
  it('of little text holds others up, which is the fastest for all', async () => {
    expect(await leavesTurns(chat(3))).toBe(false)
  })

  const numbers = Array(20_000).fill(0)
  const calls = [{ id: 'a', name: 'sum', arguments: JSON.stringify(numbers) }]
  const sum: Tool = { name: 'sum', description: undefined, parameters: { enum: numbers } }
  it.each<[string, ChatMessage[], Tool[]?]>([
    ['a long text', [{ role: 'user', content: [{ kind: 'text', text: 'a '.repeat(300_000) }] }]],
    ['a long thought', [...chat(1), { role: 'assistant', content: [], reasoning: 'a '.repeat(300_000) }]],
    ['arguments of many values', [...chat(1), { role: 'assistant', content: [], calls }]],
    ['a tool of many values', chat(1), [sum]],
  ])('of few messages with %s holds nobody up', async (_, messages, tools) => {
    expect(await leavesTurns(messages, tools)).toBe(true)
  })

  it('of thousands of messages is that of the template, and holds nobody up meanwhile', async () => {
    let turns = 0
    const others = setInterval(() => turns++, 1)
    const long = chat(4001)
    const laidOut = await chats.layout(long, {})
    clearInterval(others)
    expect(turns).toBeGreaterThan(10)
    expect(laidOut).toEqual(compileTemplate(model).layout(long))
  })

  it('of a long chat that the template refuses is refused as a short one is', async () => {
    const refusing = new ChatLayout({ ...model, chatTemplate: "{{ raise_exception('no') }}" })
    const [short, long] = await Promise.all(
      [3, 1001].map((turns) => refusing.layout(chat(turns), {}).catch((error: unknown) => error)),
    )
    expect(long).toMatchObject({ ...(short as object) })
    refusing.close()
  })
})
