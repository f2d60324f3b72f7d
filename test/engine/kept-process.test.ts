import { spawn } from 'node:child_process'
import { expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { createLogger } from '../../src/log.ts'
import { inputs, shortRun } from '../support/long.ts'
import { engineSettings } from '../support/pocket.ts'

let starts = 0
let code = ''
vi.mock('../../src/children/index.ts', async (original) => ({
  ...(await original<object>()),
  startProcess: () => {
    starts++
    return spawn(process.execPath, ['-e', code], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
      serialization: 'advanced',
    })
  },
}))

const { startEngine } = await import('../../src/engine/index.ts')

/** Starts processes that die as soon as they have said what they say. */
async function startDying(says: readonly object[], isCurrent = async (): Promise<boolean> => true) {
  starts = 0
  code = `process.on('message', async () => {
    for (const said of ${JSON.stringify(says)}) await new Promise((sent) => process.send(said, sent))
    process.kill(process.pid, 'SIGKILL')
  })`
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
