import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { dataUrl, shape } from '../support/images.ts'
import { endEvents, promptEvent, startScripted, textEvent } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

const post = (url: string, body: object, signal?: AbortSignal): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  })

interface Event {
  type?: string
  choices?: { index: number; text?: string; delta?: { content?: string }; finish_reason: string | null }[]
  delta?: string | { text?: string }
}

const eventsOf = (text: string): Event[] =>
  text.split('\n\n').flatMap((frame) => {
    const data = /^data: (\{.*)$/m.exec(frame)?.[1]
    return data === undefined ? [] : [JSON.parse(data) as Event]
  })

/** What a stream of any dialect says, choice by choice. */
function said(text: string): string[] {
  const texts: string[] = []
  const add = (index: number, more: string): void => {
    texts[index] = (texts[index] ?? '') + more
  }
  for (const { choices, delta, type } of eventsOf(text)) {
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

/** What an answer in one piece says. */
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

describe('streams of the built-in model', () => {
  let oriel: TestServer
  let red: string
  beforeAll(async () => {
    oriel = await startServer()
    red = dataUrl(await shape('red'))
  })
  afterAll(() => oriel.close())

  it.each(dialects)('of %s have the same text as the whole answer', async (path, body) => {
    const request = { model: 'pocket', ...body(red) }
    const whole = saidWhole((await (await post(`${oriel.url}/v1/${path}`, request)).json()) as Whole)
    expect(whole.filter((text) => text === '')).toEqual([])
    for (let turn = 0; turn < 2; turn++)
      expect(said(await (await post(`${oriel.url}/v1/${path}`, { ...request, stream: true })).text())).toEqual(whole)
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
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { minLength: 1, maxLength: 8 }),
        async (words) => {
          const server = await startScripted(async function* () {
            yield promptEvent
            for (const word of words) yield textEvent(word)
            yield* endEvents(words.length)
          })
          try {
            const text = await (
              await post(`${server.url}/v1/${path}`, { model: 'scripted', stream: true, ...body })
            ).text()
            for (const answer of said(text)) expect(answer).toBe(words.join(''))
          } finally {
            await server.close()
          }
        },
      ),
      { numRuns: 15 },
    )
  })

  it.each(plain.flatMap(([path, body]) => [[path, { ...body, stream: true }] as const, [path, body] as const]))(
    'of %s with %j stop the engine when the client disconnects',
    async (path, body) => {
      const running = new Set<AbortSignal>()
      const server = await startScripted(async function* (_, signal) {
        running.add(signal)
        signal.addEventListener('abort', () => running.delete(signal))
        yield promptEvent
        while (!signal.aborted) {
          yield textEvent('x')
          await pause(2)
        }
        throw new OrielError('cancelled', 'The request was cancelled.')
      })
      try {
        const leaving = new AbortController()
        const asked = post(`${server.url}/v1/${path}`, { model: 'scripted', ...body }, leaving.signal).then(
          (response) => response.text(),
        )
        asked.catch(() => {})
        while (running.size === 0) await pause(2)
        await pause(20)
        leaving.abort()
        for (let waited = 0; running.size > 0 && waited < 200; waited++) await pause(5)
        expect(running.size).toBe(0)
      } finally {
        await server.close()
      }
    },
  )
})
