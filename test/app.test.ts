import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { type AnswerEvent, type Backend, createOriel, OrielError } from '../src/app.ts'
import { plainBackend } from './support/plain-backend.ts'

const shutDown = { kind: 'overloaded', message: 'The server is shutting down.' }
const create = (...backends: Backend[]) =>
  createOriel(
    { model: [], logLevel: 'silent' },
    { env: { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR }, backends: [plainBackend(), ...backends] },
  )

describe('count', () => {
  it('ends when its signal aborts', async () => {
    let began = (): void => {}
    const counting = new Promise<void>((resolve) => {
      began = resolve
    })
    const backend: Backend = {
      ...plainBackend(),
      count: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')))
          began()
        }),
    }
    const oriel = await createOriel(
      { model: [], logLevel: 'silent' },
      { env: { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR }, backends: [backend] },
    )
    const over = new AbortController()
    const counted = expect(oriel.count('What?', { signal: over.signal })).rejects.toThrow('aborted')
    await counting
    over.abort()
    await counted
    await oriel.close()
  })
})

describe('a finished answer', () => {
  it('tells what became of each image, video and audio', async () => {
    const work = { tokens: 7, cached: null, encodeMs: 1 }
    const files = { fetchMs: 0, decodeMs: 1 }
    const told = {
      images: [],
      videos: [
        {
          ...{ param: 'videos[0]', seconds: 1, width: 64, height: 64, seen: { width: 64, height: 64 }, tokens: 7 },
          ...{ found: 2, taken: 1, frames: [{ time: 0, ...work }], ...files },
        },
      ],
      audio: [{ param: 'audio[0]', seconds: 1, chunks: 1, ...work, ...files }],
    }
    const plain = plainBackend('keen')
    const oriel = await create({
      ...plain,
      async answer(...asked) {
        const answer = await plain.answer(...asked)
        const events = (async function* () {
          for await (const event of answer.events)
            yield event.type === 'done' ? { ...event, tally: { ...event.tally, ...told } } : event
        })()
        return { ...answer, events }
      },
    })
    expect(await (await oriel.ask('What?', { model: 'keen' })).finish()).toMatchObject(told)
    await oriel.close()
  })
})

describe('an answer that has no end', () => {
  it('is no whole answer: it says that it was left, or once more why it broke off', async () => {
    const oriel = await create(plainBackend('keen'), failing('late', new OrielError('overloaded', 'Full.')))
    const left = await oriel.ask('What?', { model: 'keen' })
    for await (const _ of left.events()) break
    expect(await left.finish()).toMatchObject({ reason: 'left' })
    const broken = await oriel.ask('What?', { model: 'late' })
    for (const _ of [1, 2]) await expect(broken.finish()).rejects.toThrow('Full.')
    await oriel.close()
  })
})

describe('an error of ask', () => {
  it('names the option or the part of the messages that is at fault', async () => {
    const oriel = await create()
    const paramOf = async (...[question, options]: Parameters<typeof oriel.ask>) =>
      oriel.ask(question, { model: 'plain', ...options }).then(
        () => undefined,
        (error: unknown) => error instanceof OrielError && error.param,
      )
    const missing = 'no-such-file.png'
    expect(await paramOf('What?', { images: [missing] })).toBe('images[0]')
    const content = [{ type: 'image', image: missing }] as const
    expect(await paramOf([{ role: 'user', content }], { system: 'Be brief.' })).toBe('messages[0].content[0].image')
    expect(await paramOf([{ role: 'user', content: 'What?' }], { images: [missing] })).toBe('images')
    await oriel.close()
  })

  it('names the models that can be asked instead, backends among them', async () => {
    const oriel = await create()
    await expect(oriel.ask('What?', { model: 'gpt-5' })).rejects.toMatchObject({
      kind: 'not_found',
      message: expect.stringMatching(/^The model "gpt-5" was not found\. The models are: plain\b/),
    })
    await oriel.close()
  })

  it.each([
    ['maxTokens', { maxTokens: 0 }],
    ['temperature', { temperature: -1 }],
    ['topP', { topP: 1.5 }],
    ['topK', { topK: 0.5 }],
    ['stop', { stop: [''] }],
  ])('refuses a value out of range: %s', async (param, options) => {
    const oriel = await create()
    await expect(oriel.ask('What?', options)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'invalid_value',
      param,
      message: expect.stringMatching(new RegExp(`^${param}: `)),
    })
    await oriel.close()
  })

  it('refuses a conversation without messages', async () => {
    const oriel = await create()
    await expect(oriel.ask([])).rejects.toMatchObject({
      param: 'question',
      message: 'The conversation has no messages.',
    })
    await oriel.close()
  })

  it('names the option for what the backend calls otherwise, before the answer and within it', async () => {
    const oriel = await create(
      failing('early', new OrielError('invalid', 'No.', { param: 'prompt' })),
      failing('late', new OrielError('invalid', 'No.', { param: 'grammar' })),
    )
    await expect(oriel.ask('Hello', { model: 'early' })).rejects.toMatchObject({ param: 'question' })
    const reply = await oriel.ask('Hello', { model: 'late' })
    await expect(reply.finish()).rejects.toMatchObject({ param: 'schema' })
    await oriel.close()
  })
})

async function* failed(error: OrielError): AsyncIterable<AnswerEvent> {
  yield { type: 'part', choice: 0, completionTokens: 1, raw: 'H', tokens: [], pieces: [{ kind: 'text', text: 'H' }] }
  throw error
}

/** A backend that refuses to answer, or breaks off its answer. */
function failing(id: 'early' | 'late', error: OrielError): Backend {
  const plain = plainBackend(id)
  return {
    ...plain,
    async answer(ask, signal) {
      if (id === 'early') throw error
      const answer = await plain.answer(ask, signal)
      return {
        ...answer,
        events: failed(error),
      }
    },
  }
}

describe('after close', () => {
  it('answers and loads nothing, whether the model had been loaded or not', async () => {
    const oriel = await create()
    await oriel.close()
    await expect(oriel.ask('Hello', { model: 'plain' })).rejects.toMatchObject(shutDown)
    await expect(oriel.ask('Hello', { model: 'pocket' })).rejects.toMatchObject(shutDown)
    await expect(oriel.load(['pocket'])).rejects.toMatchObject(shutDown)
  })

  it('does not listen, also when close is called while listen is in progress', async () => {
    for (const turns of [0, 2, 4, 6, 8, 10, 12]) {
      const oriel = await create()
      const refused = expect(oriel.listen({ port: 0 })).rejects.toMatchObject(shutDown)
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      await oriel.close()
      await refused
      await expect(oriel.listen({ port: 0 })).rejects.toMatchObject(shutDown)
    }
  })

  it('listens after an attempt that failed', async () => {
    const dataDir = path.join(await mkdtemp(path.join(tmpdir(), 'oriel-app-')), 'data')
    await writeFile(dataDir, 'not a folder')
    const oriel = await createOriel(
      { model: [], accounts: { dataDir }, logLevel: 'silent' },
      { env: {}, backends: [plainBackend()] },
    )
    await expect(oriel.listen({ port: 0 })).rejects.toMatchObject({ code: 'data_folder' })
    await rm(dataDir)
    expect((await fetch(`${(await oriel.listen({ port: 0 })).url}/health`)).status).toBe(200)
    await oriel.close()
    await rm(path.dirname(dataDir), { recursive: true })
  })

  it('may be closed again', async () => {
    const oriel = await create()
    await oriel.listen({ port: 0 })
    await Promise.all([oriel.close(), oriel.close()])
    await oriel.close()
  })
})
