import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { open, rename, rm, stat, statfs, truncate } from 'node:fs/promises'
import path from 'node:path'
import { fromWire, startProcess } from '../../children/index.ts'
import { OrielError, unsupportedModel } from '../../errors.ts'
import { splitParts } from '../../models/index.ts'
import { programFile } from '../../places.ts'
import { availableProcessors } from '../../processors.ts'
import { bytesText } from '../../sizes.ts'
import { type Layout, layOut, type MergedType } from './layout.ts'
import type { MergeAnswer, MergeTask } from './process.ts'

export interface MergeOptions {
  /** Of the matrices that the adapter changes; null: as the base has them. */
  readonly type: MergedType | null
  readonly signal: AbortSignal
  /** Bytes that are written, and of all. */
  onProgress(done: number, total: number): void
}

/** A model and an adapter that fits it, by the paths of their files. */
export interface MergeInput {
  readonly base: { readonly decoder: string; readonly projector: string | null }
  readonly adapter: {
    readonly id: string
    readonly decoder: string | null
    readonly vision: string | null
    readonly invocation: readonly number[]
  }
}

interface Merged {
  readonly files: readonly { readonly path: string; readonly bytes: number }[]
  /** How many the adapter has changed. */
  readonly matrices: number
}

/** More wait for the disk. */
const mostProcesses = 4

/**
 * Writes a model with an adapter in it: to each matrix the product of the adapter's halves is added. A model with encoders gets
 * a vision file, too, `mmproj-` and the name of the first. Nothing is held whole, and nobody sees an incomplete file.
 * @param output path of the new GGUF file
 * @throws OrielError `invalid` with a sentence for the person; Error of the system
 */
export async function merge({ base, adapter }: MergeInput, output: string, options: MergeOptions): Promise<Merged> {
  if (adapter.invocation.length > 0)
    throw unsupportedModel(`${adapter.id} works only behind certain tokens of the prompt (aLoRA): it cannot be merged.`)
  const [folder, name] = [path.dirname(output), path.basename(output)]
  const halves = [
    { output, base: splitParts(base.decoder), adapter: adapter.decoder, isVision: false },
    ...(base.projector === null
      ? []
      : [
          {
            output: path.join(folder, `mmproj-${name}`),
            base: [base.projector],
            adapter: adapter.vision,
            isVision: true,
          },
        ]),
  ]
  for (const { output } of halves) await checkFree(output)
  const files: { path: string; unfinished: string; layout: Layout }[] = []
  for (const { output, ...half } of halves)
    files.push({
      path: output,
      unfinished: `${output}.${randomUUID()}.new`,
      layout: await layOut(half, options.type),
    })
  const total = files.reduce((sum, { layout }) => sum + layout.bytes, 0)
  await checkSpace(folder, total)
  const most = Math.max(...files.map(({ layout }) => layout.pieces.length))
  const workers = Array.from({ length: Math.min(most, availableProcessors(), mostProcesses) }, () =>
    startWorker(options.signal),
  )
  const written: { path: string; bytes: number }[] = []
  try {
    let before = 0
    for (const { path, unfinished, layout } of files) {
      const start = before
      const bytes = await write(
        unfinished,
        layout,
        workers.map(({ worker }) => worker),
        (done) => options.onProgress(Math.min(total, start + done), total),
      )
      written.push({ path, bytes })
      before += layout.bytes
    }
    // The decoder, by which models are found, comes last.
    for (const { unfinished, path } of files.toReversed()) await rename(unfinished, path)
  } finally {
    for (const { end } of workers) end()
    for (const { unfinished } of files) await rm(unfinished, { force: true })
  }
  return { files: written, matrices: files.reduce((sum, { layout }) => sum + layout.matrices, 0) }
}

/** Makes a file whose tensors are all written. @returns its bytes */
async function write(
  file: string,
  { header, pieces, bytes }: Layout,
  workers: readonly Worker[],
  onBytes: (done: number) => void,
): Promise<number> {
  await (await open(file, 'wx')).close()
  const [first] = workers
  const start = (await first?.({ target: file, header })) ?? 0
  await truncate(file, start + bytes)
  const waiting = pieces.values()
  let done = start
  /** Whichever process is free makes the next piece. */
  const work = async (worker: Worker): Promise<void> => {
    for (const piece of waiting) {
      done += await worker({ target: file, piece: { ...piece, to: piece.to + start } })
      onBytes(done)
    }
  }
  await Promise.all(workers.map(work))
  return start + bytes
}

/** Does one task after another. @throws OrielError what the task says, or that the process ended */
type Worker = (task: MergeTask) => Promise<number>

function startWorker(signal: AbortSignal): { worker: Worker; end(): void } {
  // ggml writes to stderr which libraries it loads.
  const child = startProcess(programFile('tuning/merge/process'), { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const ended = new AbortController()
  child.once('error', (cause) => ended.abort(failed('could not be started', cause)))
  child.once('exit', (code, killed) => ended.abort(failed(`ended with ${killed ?? code}`)))
  const stop = AbortSignal.any([signal, ended.signal])
  return {
    async worker(task) {
      // One that could not be started cannot be sent anything, and `stop` says so.
      child.send?.(task, () => {})
      const [answer] = (await once(child, 'message', { signal: stop }).catch(() => {
        throw stop.reason
      })) as [MergeAnswer]
      if ('error' in answer) throw fromWire(answer.error)
      return answer.bytes
    },
    end: () => void child.kill('SIGKILL'),
  }
}

const failed = (how: string, cause?: unknown): OrielError =>
  new OrielError('internal', `A process that merges ${how}.`, { cause })

/** @throws OrielError `conflict` if there is a file of this name */
async function checkFree(file: string): Promise<void> {
  if (await stat(file).catch(() => undefined))
    throw new OrielError('conflict', `There is a file ${file} already. Give another name, or remove it.`, {
      code: 'file_exists',
    })
}

async function checkSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder).catch((cause: unknown) => {
    throw new OrielError('not_found', `There is no folder ${folder}.`, { code: 'file_not_found', cause })
  })
  if (bytes > bavail * bsize)
    throw new OrielError(
      'invalid',
      `The merged files take ${bytesText(bytes)}, and the disk has ${bytesText(bavail * bsize)} free.`,
      { code: 'no_space' },
    )
}
