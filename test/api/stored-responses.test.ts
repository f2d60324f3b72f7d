import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import { memoryStore, type StoredResponse } from '../../src/api/responses/store.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startScripted, startTurns } from '../support/scripted.ts'
import { startServer } from '../support/server.ts'

describe('stored responses', () => {
  let close = async (): Promise<void> => {}
  afterEach(() => close())

  async function start(...answers: string[]) {
    const server = await startTurns(answers)
    close = server.close
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    return { ...server, responses: client.responses }
  }
  const model = 'scripted'

  it('are continued with all that came before, but not with their instructions', async () => {
    const { responses, prompts } = await start('One.', 'Two.', 'Three.')
    const first = await responses.create({ model, input: 'First?', instructions: 'Count.' })
    expect(first).toMatchObject({ store: true, previous_response_id: null })
    const second = await responses.create({ model, input: 'Second?', previous_response_id: first.id })
    expect(second.previous_response_id).toBe(first.id)
    const input = [{ role: 'user' as const, content: 'Third?' }]
    await responses.create({ model, input, previous_response_id: second.id, instructions: 'Be brief.' })
    expect(prompts[1]).toMatch(/^<\|im_start\|>user\nFirst\?[\s\S]*assistant\nOne\.[\s\S]*user\nSecond\?/)
    expect(prompts[2]).toMatch(
      /system\nBe brief\.[\s\S]*First\?[\s\S]*One\.[\s\S]*Second\?[\s\S]*Two\.[\s\S]*user\nThird\?/,
    )
  })

  it('are complete when the last event of a stream arrives', async () => {
    const { responses, prompts } = await start('One.', 'Two.')
    const stream = await responses.create({ model, input: 'First?', stream: true })
    for await (const event of stream) {
      if (event.type !== 'response.completed') continue
      expect(await responses.retrieve(event.response.id)).toMatchObject({ ...event.response, output_text: 'One.' })
      await responses.create({ model, input: 'Second?', previous_response_id: event.response.id })
    }
    expect(prompts[1]).toContain('One.')
  })

  it('hold calls and their results, images and thoughts', async () => {
    const call = '<think>Hm.</think><tool_call>{"name": "look", "arguments": {"at": "sky"}}</tool_call>'
    const prompts: (readonly { kind: string; text?: string }[])[] = []
    const server = await startScripted(
      async function* ({ prompt }) {
        prompts.push(prompt as never)
        yield { type: 'prompt', promptTokens: 12, cachedTokens: 4, attachmentTokens: [1] }
        yield { type: 'text', choice: 0, text: prompts.length === 1 ? call : 'Blue.', tokens: [], generated: 1 }
        yield { type: 'end', choice: 0, reason: 'stop', stop: null, completionTokens: 1 }
        yield {
          type: 'done',
          timings: { queue: 1, encode: 0, prefill: 2, firstToken: 3, generation: 4 },
          attachments: [],
        }
      },
      { vision: true },
    )
    close = server.close
    const { responses } = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const image_url = dataUrl(await shape('red'))
    const tools = [{ type: 'function' as const, name: 'look', parameters: { type: 'object' }, strict: false }]
    const content = [{ type: 'input_image' as const, image_url, detail: 'auto' as const }]
    const first = await responses.create({ model, tools, input: [{ role: 'user', content }] })
    const made = first.output.find((item) => item.type === 'function_call')
    const result = { type: 'function_call_output' as const, call_id: made?.call_id ?? '', output: 'It is blue.' }
    const second = await responses.create({ model, tools, previous_response_id: first.id, input: [result] })
    expect(second.output_text).toBe('Blue.')
    const asked = prompts[1]?.map(({ kind, text }) => text ?? `<${kind}>`).join('')
    expect(asked).toMatch(/<image>[\s\S]*<tool_call>\n\{"name":"look"[\s\S]*<tool_response>\nIt is blue\./)
    const listed = await responses.inputItems.list(second.id)
    expect(listed.data.map(({ type }) => type)).toEqual([
      'function_call_output',
      'function_call',
      'reasoning',
      'message',
    ])
    expect(JSON.stringify(listed.data)).not.toContain(image_url)
    const whole = await responses.inputItems.list(second.id, { include: ['message.input_image.image_url'] })
    expect(JSON.stringify(whole.data)).toContain(image_url)
  })

  it('have items that requests may refer to', async () => {
    const { responses, prompts } = await start('One.', 'Two.', 'Three.')
    const first = await responses.create({ model, input: 'First?' })
    const [asked] = (await responses.inputItems.list(first.id)).data
    const refer = (id: string | undefined) => ({ type: 'item_reference' as const, id: id ?? '' })
    const input = [refer(asked?.id), refer(first.output[0]?.id), { role: 'user' as const, content: 'Second?' }]
    const second = await responses.create({ model, input })
    expect(prompts[1]).toMatch(/user\nFirst\?[\s\S]*assistant\nOne\.[\s\S]*user\nSecond\?/)
    await responses.create({ model, input: 'Third?', previous_response_id: second.id })
    expect(prompts[2]).toContain('First?')
    await expect(responses.create({ model, input: [refer('msg_1')] })).rejects.toMatchObject({
      status: 404,
      code: 'item_not_found',
      param: 'input[0].id',
    })
  })

  it('list their input in pages', async () => {
    const { responses } = await start('One.', 'Two.')
    const first = await responses.create({ model, input: 'First?' })
    const input = ['a', 'b', 'c'].map((content) => ({ role: 'user' as const, content }))
    const { id } = await responses.create({ model, input, previous_response_id: first.id })
    const texts: string[] = []
    for await (const item of responses.inputItems.list(id, { limit: 2, order: 'asc' }))
      if ('content' in item && item.content?.[0] !== undefined && 'text' in item.content[0])
        texts.push(item.content[0].text)
    expect(texts).toEqual(['First?', 'One.', 'a', 'b', 'c'])
    const page = await responses.inputItems.list(id, { limit: 1 })
    expect(page).toMatchObject({ has_more: true, data: [{ type: 'message', role: 'user', status: 'completed' }] })
    await expect(responses.inputItems.list(id, { limit: 101 })).rejects.toThrow(/limit must be at most 100/)
    await expect(responses.inputItems.list(id, { after: 'msg_1' })).rejects.toThrow(/after is not the id of an item/)
  })

  it('are sent piece by piece, however long a text of them is', async () => {
    const { url, responses } = await start('One.')
    const instructions = 'i'.repeat(1_000_000)
    const input = 'q'.repeat(1_000_000)
    const { id } = await responses.create({ model, instructions, input })
    for (const [path, part] of [
      [id, instructions],
      [`${id}/input_items`, input],
    ] as const) {
      const sent = await fetch(`${url}/v1/responses/${path}`)
      expect(sent.headers.get('transfer-encoding')).toBe('chunked')
      expect(await sent.text()).toContain(part)
    }
  })

  it('are gone when they are deleted, and were never there with store false', async () => {
    const { url, responses } = await start('One.', 'Two.', 'Three.')
    const kept = await responses.create({ model, input: 'First?' })
    const next = await responses.create({ model, input: 'Second?', previous_response_id: kept.id })
    const passed = await responses.create({ model, input: 'First?', store: false })
    expect(passed).toMatchObject({ store: false })
    const deleted = await fetch(`${url}/v1/responses/${kept.id}`, { method: 'DELETE' })
    expect(await deleted.json()).toEqual({ id: kept.id, object: 'response', deleted: true })
    for (const { id } of [kept, passed]) {
      const asked = [() => responses.retrieve(id), () => responses.delete(id), () => responses.inputItems.list(id)]
      for (const ask of asked)
        await expect(ask()).rejects.toMatchObject({
          status: 404,
          code: 'response_not_found',
          message: expect.stringMatching(
            /not found\. It was never stored, or .* deleted, or the server has dropped it\.$/,
          ),
        })
      await expect(responses.create({ model, input: 'Then?', previous_response_id: id })).rejects.toMatchObject({
        status: 400,
        code: 'previous_response_not_found',
        param: 'previous_response_id',
        message: expect.stringMatching(
          /The previous response was not found\. It was never stored, .* dropped it: send the whole/,
        ),
      })
    }
    await expect(responses.create({ model, input: 'Then?', previous_response_id: next.id })).rejects.toThrow(
      /A response that the previous response continues was not found/,
    )
    await expect(responses.retrieve(next.id, { stream: true })).rejects.toThrow(/stream must be false/)
  })

  it('are continued up to a bound', async () => {
    const { responses } = await start('One.', 'Two.')
    const input = Array.from({ length: 4000 }, () => ({ role: 'user' as const, content: 'x' }))
    const first = await responses.create({ model, input })
    const second = await responses.create({ model, previous_response_id: first.id, input: input.slice(0, 100) })
    await expect(responses.create({ model, previous_response_id: second.id, input: 'And?' })).rejects.toMatchObject({
      status: 400,
      code: 'conversation_too_long',
      param: 'previous_response_id',
    })
    expect((await responses.inputItems.list(first.id)).has_more).toBe(true)
  })

  it('are referred to up to a bound, however small the request is', async () => {
    const { responses } = await start('One.')
    const content = Array.from({ length: 9000 }, () => ({ type: 'input_text' as const, text: '' }))
    const { id } = await responses.create({ model, input: [{ role: 'user', content }] })
    const [item] = (await responses.inputItems.list(id)).data
    const input = Array.from({ length: 4000 }, () => ({ type: 'item_reference' as const, id: item?.id ?? '' }))
    await expect(responses.create({ model, input })).rejects.toMatchObject({
      status: 400,
      code: 'conversation_too_long',
      param: expect.stringMatching(/^input\[\d+\]$/),
    })
  })

  it('have other methods refused', async () => {
    const { url } = await start()
    const response = await postJson(`${url}/v1/responses/resp_1`, {})
    expect({ status: response.status, allow: response.headers.get('allow') }).toEqual({
      status: 405,
      allow: 'GET, DELETE, OPTIONS',
    })
  })

  it('name the previous response if an image of it cannot be read again', async () => {
    const red = await shape('red')
    let asked = 0
    const images = createServer((_, response) => {
      response.writeHead(asked++ === 0 ? 200 : 404, { 'cache-control': 'no-store' }).end(red)
    })
    await new Promise<void>((resolve) => images.listen(0, '127.0.0.1', resolve))
    const { port } = images.address() as AddressInfo
    const oriel = await startServer()
    close = async () => {
      images.close()
      await oriel.close()
    }
    const { responses } = new OpenAI({ baseURL: `${oriel.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const image = { type: 'input_image', image_url: `http://127.0.0.1:${port}/red.png`, detail: 'auto' } as const
    const first = await responses.create({ model: 'pocket', input: [{ role: 'user', content: [image] }] })
    const again = { model: 'pocket', previous_response_id: first.id, input: 'Is it red?' }
    await expect(responses.create(again)).rejects.toMatchObject({
      status: 400,
      param: 'previous_response_id',
      message: expect.stringContaining('404'),
    })
  })
})

describe('the store in memory', () => {
  const stored = (id: string, kilobytes: number, previous: string | null = null): StoredResponse => ({
    response: { id, previous_response_id: previous, output: [] },
    input: [{ id: `${id}-0`, content: 'x'.repeat(kilobytes * 1024) }],
  })
  const kilobyte = 1024
  const me = { account: 'mine', client: 'me' }
  const other = { account: 'mine', client: 'other' }

  it('drops what was not used for longest', async () => {
    const store = memoryStore(100 * kilobyte)
    for (const id of ['a', 'b', 'c', 'd']) await store.put(stored(id, 20), me)
    await store.get('a', me)
    await store.put(stored('e', 24), me)
    expect(await store.get('b', me)).toBeUndefined()
    expect((await store.get('a', me))?.response.id).toBe('a')
  })

  it('takes the room from the client that has most', async () => {
    const store = memoryStore(100 * kilobyte)
    await store.put(stored('mine', 10), me)
    for (let turn = 0; turn < 50; turn++) await store.put(stored(`other-${turn}`, 20), other)
    expect(await store.get('mine', me)).toBeDefined()
    expect(await store.get('other-0', me)).toBeUndefined()
    expect(await store.get('other-49', me)).toBeDefined()
  })

  it('holds no response larger than a quarter of it', async () => {
    const store = memoryStore(100 * kilobyte)
    expect(store.holds({ input: 'x'.repeat(20 * kilobyte) })).toBe(true)
    expect(store.holds({ input: 'x'.repeat(26 * kilobyte) })).toBe(false)
    expect(store.holds({ input: Array.from({ length: 500 }, () => ({})) })).toBe(false)
    await store.put(stored('large', 26), me)
    expect(await store.get('large', me)).toBeUndefined()
  })

  it('says whether a deleted response was there', async () => {
    const store = memoryStore()
    await store.put(stored('a', 1), me)
    expect([await store.delete('a', me), await store.delete('a', me)]).toEqual([true, false])
  })

  it('gives a response to its own account only', async () => {
    const store = memoryStore()
    const stranger = { account: 'other', client: 'other' }
    await store.put(stored('a', 1), me)
    expect([await store.get('a', stranger), await store.delete('a', stranger)]).toEqual([undefined, false])
    expect((await store.get('a', me))?.response.id).toBe('a')
  })
})
