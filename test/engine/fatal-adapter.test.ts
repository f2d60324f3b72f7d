import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Engine } from '../../src/engine/index.ts'
import { writeAdapter } from '../support/adapters.ts'
import { childrenRunning } from '../support/children.ts'
import { answerOf, ask, requestOf, startPocket } from '../support/pocket.ts'
import { patient } from '../support/wait.ts'

describe.skipIf(process.platform !== 'linux')('an adapter that ends the process which loads it', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-fatal-'))
  const pipe = path.join(folder, 'fatal.gguf')
  let engine: Engine
  let logged = ''
  beforeAll(async () => {
    execFileSync('mkfifo', [pipe])
    const write = (line: string): void => {
      logged += line
    }
    engine = await startPocket({}, pino({ level: 'debug' }, { write }))
  })
  afterAll(async () => {
    await engine.close()
    rmSync(folder, { recursive: true })
  })

  /** Resolves when somebody reads the file, and waits for its bytes. */
  const reader = (): Promise<number> =>
    vi.waitFor(() => openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK), patient)
  const filesOf = (id: string, decoder: string, version = '1') => ({ id, version, decoder, vision: null, bytes: 1000 })

  it('is refused from then on, until its file changes, and others are loaded again', async () => {
    await engine.loadAdapter(filesOf('good', writeAdapter(folder, 'good')))
    logged = ''
    const loading = engine.loadAdapter(filesOf('fatal', pipe))
    const refused = expect(loading).rejects.toMatchObject({ kind: 'precondition_failed', code: 'adapter_unusable' })
    // The server reads it first, and then native code does.
    closeSync(await reader())
    // It waits for somebody to write, and says nothing more.
    await vi.waitFor(() => expect(logged).toContain('an adapter is being loaded'), patient)
    for (const { pid } of childrenRunning('engine-process')) process.kill(pid, 'SIGKILL')
    await refused
    await expect(engine.loadAdapter(filesOf('fatal', pipe))).rejects.toThrow('an engine ended while it loaded it')
    const asked = requestOf(ask('Hi'), { adapter: { id: 'good', scale: 1 } })
    expect((await answerOf(engine, asked)).reasons).toHaveLength(1)
    await engine.loadAdapter(filesOf('fatal', writeAdapter(folder, 'mended'), '2'))
  })
})
