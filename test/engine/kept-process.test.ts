import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { createLogger } from '../../src/log.ts'
import { inputs, shortRun } from '../support/long.ts'
import { engineSettings, requestOf } from '../support/pocket.ts'

let starts = 0
let code = ''
const killed = vi.fn()
vi.mock('../../src/children/index.ts', async (original) => ({
  ...(await original<object>()),
  startProcess: () => {
    starts++
    // As Node returns a child for which no descriptor is left, without pipes.
    if (code === '') return Object.assign(new EventEmitter() as ChildProcess, { kill: killed })
    return spawn(process.execPath, ['-e', code], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
      serialization: 'advanced',
    })
  },
}))

const { startEngine } = await import('../../src/engine/index.ts')

/** Starts processes that die as soon as they have said what they say. */
const startDying = (says: readonly object[], isCurrent?: () => Promise<boolean>) =>
  startSaying(`${say} process.on('message', () => say(${JSON.stringify(says)}))`, isCurrent)

/** What processes say before they die. */
const say = `async function say(all) {
  for (const said of all) await new Promise((sent) => process.send(said, sent))
  process.kill(process.pid, 'SIGKILL')
}`

/** @param program what the processes run */
async function startSaying(program: string, isCurrent = async (): Promise<boolean> => true) {
  starts = 0
  code = program
  const lost = deferred<unknown>()
  const unopened = deferred<unknown>()
  const engine = await startEngine({
    ...{ decoder: '', projector: 'mmproj.gguf', name: 'model', settings: engineSettings },
    log: createLogger('silent'),
    isCurrent,
    onUnopened: unopened.resolve,
    onLost(error) {
      lost.resolve(error)
      return error as never
    },
  })
  return { engine, lost: lost.promise, unopened: unopened.promise }
}

const ready = (image: object | null) => ({ type: 'ready', model: { name: 'model', inputs: { image, audio: null } } })

const unopenedFor = { type: 'unopened', error: { kind: 'internal', message: 'no memory' } }

it('keeps an answer that is complete for a slow reader, although the engine dies', async () => {
  const events = [
    { type: 'prompt', promptTokens: 1, cachedTokens: 0, attachmentTokens: [], ignored: [] },
    { type: 'text', choice: 0, text: 'Yes.', tokens: [], generated: 1 },
    { type: 'done', timings: {}, attachments: [] },
  ]
  const { engine } = await startSaying(`${say} process.on('message', ({ type, id }) => {
    if (type === 'load') process.send(${JSON.stringify(ready(null))})
    else if (type === 'generate') say([{ type: 'events', events: ${JSON.stringify(events)}.map((event) => [id, event]) }])
  })`)
  const answer = engine.generate(requestOf([]), new AbortController().signal)[Symbol.asyncIterator]()
  const read = [await answer.next()]
  await expect.poll(() => starts, { timeout: 30_000 }).toBe(2)
  for (const _ of events) read.push(await answer.next())
  expect(read.map(({ value, done }) => (done ? 'over' : value.type))).toEqual(['prompt', 'text', 'done', 'over'])
  await engine.close()
})

it('says that an engine cannot be started for which no descriptor is left, and kills nothing', async () => {
  await expect(startSaying('')).rejects.toMatchObject({
    kind: 'internal',
    message: 'The engine process could not be started.',
  })
  expect(killed).not.toHaveBeenCalled()
})

it('tells why encoders could not be opened', async () => {
  const { engine, unopened } = await startDying([ready({}), unopenedFor])
  expect(await unopened).toMatchObject(unopenedFor.error)
  await engine.close()
})

it('does not start an engine again that was closed while its files were looked at', async () => {
  const looked = deferred<boolean>()
  const looking = deferred<void>()
  const { engine } = await startDying([ready({}), { type: 'opened', runtimes: {} }], () => {
    looking.resolve()
    return looked.promise
  })
  await looking.promise
  await engine.close()
  looked.resolve(true)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(starts).toBe(1)
})

it('does not start an engine again and again whose encoders kill it while they open', async () => {
  const { engine, lost } = await startDying([ready({})])
  expect(await lost).toMatchObject({ kind: 'internal', code: 'encoder_died' })
  expect(starts).toBe(4)
  await engine.close()
})

const endings: [string, object[]][] = [
  ['have been opened', [ready({}), { type: 'opened', runtimes: {} }]],
  ['could not be opened', [ready({}), unopenedFor]],
  ['do not exist', [ready(null)]],
]
it.skipIf(shortRun).each(inputs(endings.slice(0, 1), endings))(
  'starts an engine again whose encoders %s',
  async (_, says) => {
    const { engine } = await startDying(says)
    await expect.poll(() => starts, { timeout: 30_000 }).toBeGreaterThan(4)
    await engine.close()
  },
)
