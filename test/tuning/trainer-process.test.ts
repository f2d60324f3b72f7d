import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { socketOf, startProcess } from '../../src/children/index.ts'
import { programFile } from '../../src/places.ts'
import { type ProgressLine, progressLine } from '../../src/tuning/contract.ts'
import { shape } from '../support/images.ts'
import { assistant, type Job, jobFolder, user } from '../support/job-folder.ts'
import { inputs } from '../support/long.ts'

const folders: string[] = []
let circle: Buffer
beforeAll(async () => {
  circle = await shape('red')
})
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

/** A job of some steps. */
async function job(more: Parameters<typeof jobFolder>[1] = {}): Promise<Job> {
  const chats = Array.from({ length: 6 }, (_, at) => [user(circle, `Picture ${at}?`), assistant('A label')])
  const made = await jobFolder(chats, { batchExamples: 2, ...more })
  folders.push(made.folder)
  return made
}

function start({ folder }: Job) {
  const env = { ...process.env, ORIEL_LOG_LEVEL: 'warn', UV_THREADPOOL_SIZE: '1' }
  const stdio = ['pipe', 'pipe', 'pipe'] as const
  const child = startProcess(programFile('tuning/trainer-process'), { args: [folder], stdio: [...stdio], env })
  const lines: ProgressLine[] = []
  const log: string[] = []
  const exited = once(child, 'close').then(([code]: (number | null)[]) => ({ code, lines, log: log.join('') }))
  child.stderr?.on('data', (text) => log.push(String(text)))
  createInterface({ input: socketOf(child, 1) }).on('line', (line) => lines.push(progressLine.parse(JSON.parse(line))))
  const until = async (isMeant: (line: ProgressLine) => boolean): Promise<void> => {
    while (!lines.some(isMeant)) await Promise.race([once(socketOf(child, 1), 'data'), exited])
  }
  return { child, exited, until }
}

const typesOf = (lines: readonly ProgressLine[]): string[] =>
  lines.map((line) => (line.type === 'phase' ? line.phase : line.type)).filter((type, at, all) => type !== all[at - 1])

describe('the process of the built-in trainer', () => {
  it('prepares, trains and writes an adapter, and says so line by line', async () => {
    const made = await job()
    const { code, lines } = await start(made).exited
    expect(code).toBe(0)
    expect(new Set(typesOf(lines))).toEqual(new Set(['preparing', 'examples', 'training', 'step', 'writing', 'done']))
    expect(lines.find(({ type }) => type === 'examples')).toMatchObject({ examples: 6, images: 6, steps: 3 })
    expect(lines.filter(({ type }) => type === 'step')).toHaveLength(3)
    expect(lines.at(-1)).toMatchObject({ type: 'done', step: 3 })
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      expect((await stat(path.join(made.folder, 'output', file))).size).toBeGreaterThan(0)
  })

  it.each(inputs(['SIGTERM'], ['SIGTERM', 'the end of its standard input']))(
    'keeps a checkpoint at %s, and goes on from there without its preparations',
    async (how) => {
      const made = await job({ epochs: 40 })
      const { child, until, exited } = start(made)
      await until(({ type }) => type === 'step')
      if (how === 'SIGTERM') child.kill()
      else child.stdin?.end()
      const { code, lines } = await exited
      expect(code).toBe(0)
      expect(lines.some(({ type }) => type === 'done' || type === 'failed')).toBe(false)
      const taken = lines.filter((line) => line.type === 'step').at(-1)?.step ?? 0
      // What it has read is not read again.
      const ready = await stat(path.join(made.folder, 'prepared/ready.json'))
      const again = start(made)
      await again.until(({ type }) => type === 'step')
      again.child.kill()
      const next = (await again.exited).lines.find((line) => line.type === 'step')
      expect(next?.step).toBe(taken + 1)
      expect((await stat(path.join(made.folder, 'prepared/ready.json'))).mtimeMs).toBe(ready.mtimeMs)
    },
  )

  it('says which example is broken, without its text and without paths, and leaves nothing half prepared', async () => {
    const made = await job()
    const file = path.join(made.folder, 'train.jsonl')
    const lines = (await readFile(file, 'utf8')).split('\n')
    await writeFile(file, lines.with(2, '{"messages":[{"role":"user","content":"a secret"}]}').join('\n'))
    const { code, lines: told, log } = await start(made).exited
    expect(code).toBe(1)
    expect(told.at(-1)).toEqual({
      type: 'failed',
      message: 'Line 3, messages[0].content: Invalid input: expected array, received string',
    })
    expect(log).not.toContain('secret')
    expect(existsSync(path.join(made.folder, 'prepared'))).toBe(false)
  })

  it('fails at once with the reason when it may not take the memory that it needs', async () => {
    const { code, lines } = await start(await job({ memoryBytes: 1e6 })).exited
    expect(code).toBe(1)
    expect(lines.at(-1)).toMatchObject({
      type: 'failed',
      message: expect.stringMatching(/^To read examples with the model pocket, more memory is needed than the 1.0 MB/),
    })
  })
})
