import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { Socket } from 'node:net'
import { afterEach, expect, it, vi } from 'vitest'
import { writeFrame } from '../../src/children/index.ts'
import { loadConfig } from '../../src/load-config.ts'
import type { Logger } from '../../src/log.ts'
import { DecoderProcess } from '../../src/media/decoder/decoder-process.ts'
import type { Wanted } from '../../src/media/decoder/protocol.ts'
import { processorMs } from '../../src/processors.ts'
import { dataUrl, shape } from '../support/images.ts'

vi.mock('node:child_process', async (original) => {
  const actual = await original<typeof import('node:child_process')>()
  return { ...actual, spawn: vi.fn(actual.spawn) }
})
vi.mock('../../src/processors.ts', async (original) => {
  const actual = await original<typeof import('../../src/processors.ts')>()
  return { ...actual, processorMs: vi.fn(actual.processorMs) }
})

const image: Wanted = { kind: 'image', pages: null, longestEdge: 64 }
const audio: Wanted = { kind: 'audio', clip: { start: 0, end: null } }
const sayings: unknown[] = []
const log = { warn: (...saying: unknown[]) => sayings.push(saying) } as unknown as Logger
let decoder: DecoderProcess
let child: ChildProcess

async function start(): Promise<void> {
  decoder = await DecoderProcess.start(loadConfig({}, {}).media, log)
  child = vi.mocked(spawn).mock.results.at(-1)?.value
}
afterEach(() => decoder.kill())

it('what a codec writes about a recording is not logged, also when the process dies later of an image', async () => {
  await start()
  const file = { payload: 'data:;base64,AAAA', options: { wanted: audio, mostPages: 1 } }
  await expect(decoder.decode(file, async () => {})).rejects.toMatchObject({ code: 'unsupported_audio' })
  child.stderr?.emit('data', 'a title that somebody chose')
  const payload = dataUrl(await shape('red', 'circle', 64))
  const dying = decoder.decode({ payload, options: { wanted: image, mostPages: 1 } }, async () => {
    child.kill('SIGSEGV')
    await once(child, 'exit')
  })
  await expect(dying).rejects.toMatchObject({ code: 'invalid_image' })
  expect(JSON.stringify(sayings)).toContain('exited unexpectedly')
  expect(JSON.stringify(sayings)).not.toContain('title')
})

it('a process for which no descriptor is left is not started, and says so', async () => {
  // As Node returns it, without pipes.
  const none = new EventEmitter() as ChildProcess
  vi.mocked(spawn).mockReturnValueOnce(none)
  await expect(DecoderProcess.start(loadConfig({}, {}).media, log)).rejects.toThrow('the process has no socket 3')
  expect(none.emit('error', new Error('spawn EMFILE'))).toBe(true)
})

it('a process that has ended is not killed again: its id may be that of another one', async () => {
  await start()
  child.kill('SIGKILL')
  await once(child, 'exit')
  const kill = vi.spyOn(process, 'kill').mockReturnValue(true)
  decoder.kill()
  expect(kill).not.toHaveBeenCalled()
  kill.mockRestore()
})

it('an idle process that says something is ended: what it does would fall on the next file', async () => {
  await start()
  const socket = child.stdio[3]
  if (!(socket instanceof Socket)) throw new Error('there is no socket')
  const frames: Buffer[] = []
  const taker = { write: (chunk: Buffer) => frames.push(chunk) } as unknown as Socket
  writeFrame(taker, { type: 'failed', error: { kind: 'internal', message: '' }, worn: false })
  for (const frame of frames) socket.emit('data', frame)
  expect(decoder.alive).toBe(false)
})

it('a process that works on a recording and says nothing of it is ended', async () => {
  await start()
  const silence = Buffer.alloc(44 + 3200)
  silence.write(
    'RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\x80\x0c\0\0',
    'latin1',
  )
  const file = { payload: dataUrl(silence), options: { wanted: audio, mostPages: 1 } }
  await expect(decoder.decode(file, async () => {})).resolves.toMatchObject({ header: { format: 'wav' } })
  const working = decoder.decode(file, async () => {
    child.kill('SIGSTOP')
    // So much in each look at it.
    vi.mocked(processorMs).mockImplementation(() => 4000 * vi.mocked(processorMs).mock.calls.length)
  })
  await expect(working).rejects.toMatchObject({
    code: 'invalid_audio',
    message: expect.stringContaining('nothing came of it'),
  })
  expect(decoder.alive).toBe(false)
})
