import { afterAll, describe, expect, it } from 'vitest'
import { ChatLayout, type ChatMessage, compileTemplate } from '../../src/prompt/index.ts'
import type { ContentPart } from '../../src/prompt/messages.ts'
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

describe('The layout of chats', () => {
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
