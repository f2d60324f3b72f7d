import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  fromWire,
  readFrames,
  socketOf,
  startProcess,
  startThread,
  toWire,
  writeFrame,
} from '../../src/children/index.ts'
import { OrielError } from '../../src/errors.ts'

const run = promisify(execFile)
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'oriel-children-'))
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}')
})
afterAll(() => rmSync(folder, { recursive: true }))

const write = (name: string, text: string): URL => {
  writeFileSync(path.join(folder, name), text)
  return pathToFileURL(path.join(folder, name))
}

const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const

test('starts a process from TypeScript, with its arguments and flags', async () => {
  const entry = write('typed.ts', 'const [, , a]: string[] = process.argv\nprocess.send?.([a, typeof globalThis.gc])')
  const child = startProcess(entry, { args: ['one'], nodeFlags: ['--expose-gc'], stdio: [...stdio] })
  expect(await once(child, 'message')).toEqual([['one', 'function'], undefined])
  child.kill()
})

test('starts a compiled process without tsx', async () => {
  const entry = write('compiled.js', 'process.send([process.execArgv, process.argv.slice(2)])')
  const child = startProcess(entry, { args: ['one'], stdio: [...stdio] })
  expect(await once(child, 'message')).toEqual([[[], ['one']], undefined])
  child.kill()
})

test.each([
  [
    'TypeScript',
    'thread.ts',
    "import { parentPort, workerData } from 'node:worker_threads'\nparentPort?.postMessage(workerData as number)",
  ],
  [
    'JavaScript',
    'thread.js',
    "import { parentPort, workerData } from 'node:worker_threads'\nparentPort.postMessage(workerData)",
  ],
])('starts a thread from %s, with its data', async (_, name, text) => {
  const worker = startThread(write(name, text), 42)
  expect(await once(worker, 'message')).toEqual([42])
  await worker.terminate()
})

test.skipIf(process.platform === 'win32')(
  'a start for which no descriptor is left ends nothing but itself',
  async () => {
    const entry = write(
      'full.ts',
      `import { openSync, writeSync } from 'node:fs'
    import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
    import { socketOf, startProcess } from '${new URL('../../src/children/index.ts', import.meta.url).href}'
    const next = pathToFileURL('/dev/null.js')
    try {
      for (;;) openSync('/dev/null', 'r')
    } catch {}
    const child = startProcess(next, { stdio: ['ignore', 'ignore', 'ignore', 'ipc', 'pipe'] })
    let said = 'no socket was missing'
    try {
      socketOf(child, 4)
    } catch (error) {
      said = String(error)
    }
    // This signal harms nobody if it goes to the group of this process.
    const another = startProcess(next, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    said += ', signalled: ' + (child.kill('SIGCONT') || another.kill('SIGCONT'))
    // Nobody listens to its error.
    setTimeout(() => writeSync(1, said), 100)`,
    )
    // Node loads its sources while there are descriptors.
    const loader = ['--import', import.meta.resolve('tsx'), fileURLToPath(entry)]
    const limited = 'ulimit -n 200 && exec "$@"'
    const { stdout } = await run('sh', ['-c', limited, 'sh', process.execPath, ...loader])
    expect(stdout).toBe('Error: the process has no socket 4, signalled: false')
  },
)

test('messages and their bytes cross a socket, and one that breaks the rules closes it', async () => {
  const entry = write(
    'frames.ts',
    `import { openFrames, writeFrame } from '${new URL('../../src/children/index.ts', import.meta.url).href}'
    const socket = openFrames(3, {
      onFrame(message, payload) {
        if (message === null) socket.write(Buffer.alloc(8, 255))
        else writeFrame(socket, [message, payload.toString().length], payload)
      },
    })
    socket.on('close', () => process.exit())`,
  )
  const child = startProcess(entry, { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] })
  const socket = socketOf(child, 3)
  const frames: unknown[] = []
  readFrames(socket, { onFrame: (message, { length }) => frames.push([message, length]) })
  const text = 'é😀'.repeat(200_000)
  for (const [n, payload] of [
    [1, ''],
    [2, text],
    [3, Buffer.alloc(1_000_000, 'x')],
  ] as const) {
    writeFrame(socket, { n }, payload)
    await expect
      .poll(() => frames, { timeout: 30_000 })
      .toContainEqual([[{ n }, payload.length], Buffer.byteLength(payload)])
  }
  writeFrame(socket, null as never)
  expect(String(await once(socket, 'error'))).toContain('a frame is too large')
  expect(socket.destroyed).toBe(true)
  await once(child, 'exit')
})

test('an error crosses a wire with everything that it says', () => {
  const error = new OrielError('invalid', 'No.', {
    param: 'n',
    code: 'bad',
    retryAfter: 3,
    schemaFault: { path: ['anyOf', 1], reason: 'is empty' },
    cause: 'why',
  })
  const received = fromWire(JSON.parse(JSON.stringify(toWire(error, 'Unexpected.'))))
  expect({ ...received, message: received.message, cause: received.cause }).toEqual({
    ...error,
    message: error.message,
    cause: error.cause,
  })
})

test('any other error crosses as an internal one, with its stack as the cause', () => {
  const cause = new TypeError('x is not a function')
  const received = fromWire(toWire(cause, 'Unexpected.'))
  expect(received).toMatchObject({ kind: 'internal', message: 'Unexpected.', cause: cause.stack })
})
