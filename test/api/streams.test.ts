import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { cancelled, OrielError } from '../../src/errors.ts'
import { backends } from '../support/backends.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { inputs } from '../support/long.ts'
import { endEvents, promptEvent, startScripted, textEvent } from '../support/scripted.ts'
import { patient } from '../support/wait.ts'

interface Event {
  type?: string
  choices?: { index: number; text?: string; delta?: { content?: string }; finish_reason: string | null }[]
  delta?: string | { text?: string }
}

/** The text of a stream of any dialect, choice by choice. */
function said(text: string): string[] {
  const texts: string[] = []
  const add = (index: number, more: string): void => {
    texts[index] = (texts[index] ?? '') + more
  }
  for (const { choices, delta, type } of eventsOf<Event>(text)) {
    for (const choice of choices ?? []) add(choice.index, choice.text ?? choice.delta?.content ?? '')
    if (type === 'response.output_text.delta' && typeof delta === 'string') add(0, delta)
    if (type === 'content_block_delta' && typeof delta === 'object') add(0, delta.text ?? '')
  }
  return texts
}

interface Whole {
  choices?: { text?: string; message?: { content: string } }[]
  output?: { content: { text: string }[] }[]
  content?: { text: string }[]
}

/** The text of an answer in one piece, choice by choice. */
function saidWhole({ choices, output, content }: Whole): string[] {
  if (choices !== undefined) return choices.map(({ text, message }) => text ?? message?.content ?? '')
  return [(output?.[0]?.content ?? content ?? [])[0]?.text ?? '']
}

const dialects: [path: string, body: (image: string) => object][] = [
  [
    'chat/completions',
    (url) => ({
      n: 3,
      seed: 7,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: url },
            { type: 'text', text: 'What is in this image?' },
          ],
        },
      ],
    }),
  ],
  [
    'completions',
    (url) => ({ n: 2, seed: 7, max_tokens: 20, prompt: ['<image>It is', '<image>A'], images: [[url], [url]] }),
  ],
  [
    'responses',
    (url) => ({
      temperature: 0,
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_image', image_url: url },
            { type: 'input_text', text: 'What is it?' },
          ],
        },
      ],
    }),
  ],
  [
    'messages',
    (url) => ({
      temperature: 0,
      max_tokens: 30,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image', source: { type: 'url', url } },
            { type: 'text', text: 'What is it?' },
          ],
        },
      ],
    }),
  ],
]

describe.each(backends)('streams of the model $model', ({ model, start }) => {
  let oriel: { url: string; close(): Promise<void> }
  let red: string
  beforeAll(async () => {
    oriel = await start()
    red = dataUrl(await shape('red'))
  })
  afterAll(() => oriel.close())

  it.each(dialects)('of %s have the same text as the whole answer', async (path, body) => {
    const request = { model, ...body(red) }
    const whole = saidWhole((await (await postJson(`${oriel.url}/v1/${path}`, request)).json()) as Whole)
    expect(whole.filter((text) => text === '')).toEqual([])
    for (let turn = 0; turn < 2; turn++)
      expect(said(await (await postJson(`${oriel.url}/v1/${path}`, { ...request, stream: true })).text())).toEqual(
        whole,
      )
  })
})

const plain: [path: string, body: object][] = [
  ['chat/completions', { messages: [{ role: 'user', content: 'Hi' }] }],
  ['completions', { prompt: 'Hi' }],
  ['completions', { prompt: ['Hi', 'Ho'] }],
  ['responses', { input: 'Hi' }],
  ['messages', { max_tokens: 9, messages: [{ role: 'user', content: 'Hi' }] }],
]

describe('streams of any model', () => {
  it.each(plain)('of %s with %j have whole characters only', async (path, body) => {
    let pieces: string[] = []
    const server = await startScripted(async function* () {
      yield promptEvent
      for (const piece of pieces) yield textEvent(piece)
      yield* endEvents(pieces.length)
    })
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { minLength: 1, maxLength: 8 }),
          async (generated) => {
            pieces = generated
            const text = await (
              await postJson(`${server.url}/v1/${path}`, { model: 'scripted', stream: true, ...body })
            ).text()
            const answers = said(text)
            expect(answers).toEqual(Array.from({ length: answersTo(body) }, () => pieces.join('')))
          },
        ),
        { numRuns: inputs(15, 100) },
      )
    } finally {
      await server.close()
    }
  })

  it.each(plain.flatMap(([path, body]) => [[path, { ...body, stream: true }] as const, [path, body] as const]))(
    'of %s with %j stop the engine when the client disconnects',
    async (path, body) => {
      let [started, running] = [0, 0]
      const server = await startScripted(async function* (_, signal) {
        started++
        running++
        try {
          yield promptEvent
          while (!signal.aborted) {
            yield textEvent('x')
            await pause(2)
          }
          throw new OrielError('cancelled', 'The request was cancelled.')
        } finally {
          running--
        }
      })
      try {
        const leaving = new AbortController()
        const asked = postJson(
          `${server.url}/v1/${path}`,
          { model: 'scripted', ...body },
          { signal: leaving.signal },
        ).then((response) => response.text())
        asked.catch(() => {})
        await vi.waitFor(() => expect(started).toBe(answersTo(body)), patient)
        leaving.abort()
        await vi.waitFor(() => expect(running).toBe(0), patient)
      } finally {
        await server.close()
      }
    },
  )
})

const answersTo = (body: object): number => ('prompt' in body && Array.isArray(body.prompt) ? body.prompt.length : 1)

describe('a request', () => {
  it('has no answer that goes on if its client has left before it begins', async () => {
    let running = 0
    const { url, close } = await startScripted(async function* (_, signal) {
      running++
      yield promptEvent
      while (!signal.aborted) await pause(5)
      running--
      throw cancelled()
    })
    const { port, hostname } = new URL(url)
    const text = JSON.stringify({ model: 'scripted', messages: [{ role: 'user', content: 'x'.repeat(100_000) }] })
    const head = `host: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${text.length}`
    // Of many that leave at once, some are read to their end and wait for their turn.
    const gone = Array.from({ length: 60 }, async () => {
      const socket = connect(Number(port), hostname).on('error', () => {})
      socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${head}\r\n\r\n${text}`, () => socket.destroy())
      await once(socket, 'close')
    })
    await Promise.all(gone)
    expect((await postJson(`${url}/v1/responses`, {})).status).toBe(400)
    await vi.waitFor(() => expect(running).toBe(0), patient)
    await close()
  })
})
