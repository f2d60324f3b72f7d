import { onAbort } from '../../abort.ts'
import { fromWire, startProcess, type WireError } from '../../children/index.ts'
import { deferred } from '../../deferred.ts'
import { cancelled, OrielError } from '../../errors.ts'
import { programFile } from '../../places.ts'
import type { ExampleLimits } from './example.ts'
import type { FolderTask, WrittenFolder } from './job-folder.ts'
import type { Checked } from './report.ts'

/** What is done with a whole dataset, in a process of its own: a line alone may take longer than a server may be silent. */
export type Task =
  | { readonly type: 'check'; readonly file: string; readonly limits: ExampleLimits }
  | ({ readonly type: 'folder' } & FolderTask)

interface Results {
  check: Checked
  folder: WrittenFolder
}

/** `progress`: bytes that were read, or examples that were written. */
export type FromWork =
  | { readonly type: 'progress'; readonly amount: number }
  | { readonly type: 'done'; readonly result: Results[keyof Results] }
  | { readonly type: 'failed'; readonly error: WireError }

interface WorkOptions {
  readonly signal: AbortSignal
  onProgress?(amount: number): void
}

/**
 * Runs a task in a process, which ends with this one.
 * @throws OrielError `cancelled` when the signal aborts; `invalid` for a line that cannot be used; `internal`
 */
export async function work<Type extends Task['type']>(
  task: Extract<Task, { type: Type }>,
  { signal, onProgress }: WorkOptions,
): Promise<Results[Type]> {
  if (signal.aborted) throw cancelled()
  const { promise, resolve, reject } = deferred<Results[Type]>()
  // What it says on stderr may quote a line of the dataset.
  const child = startProcess(programFile('tuning/datasets/work-process'), {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization: 'advanced',
  })
  const stop = onAbort(signal, () => {
    reject(signal.reason instanceof OrielError ? signal.reason : cancelled())
    child.kill('SIGKILL')
  })
  child.on('message', (message: FromWork) => {
    if (message.type === 'progress') onProgress?.(message.amount)
    else if (message.type === 'failed') reject(fromWire(message.error))
    else resolve(message.result as Results[Type])
  })
  child.on('error', (cause) => reject(failed(cause)))
  child.once('exit', () => reject(failed()))
  // With too many open files it has no channel, and says so a moment later.
  child.send?.(task, () => {})
  return promise.finally(() => {
    stop()
    child.kill('SIGKILL')
  })
}

const failed = (cause?: unknown): OrielError =>
  new OrielError('internal', 'The dataset could not be read: the process that reads it has ended.', {
    code: 'dataset_process_failed',
    cause,
  })
