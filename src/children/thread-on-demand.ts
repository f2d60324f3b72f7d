import type { Transferable } from 'node:worker_threads'
import { type Deferred, deferred } from '../deferred.ts'
import { OrielError, shuttingDown } from '../errors.ts'
import { programFile } from '../places.ts'
import { startThread } from './start.ts'
import { fromWire, type WireError } from './wire-error.ts'

/** What a thread answers to a task. */
export type TaskResult<Result extends object> = Result | { error: WireError }

/** Time after which a thread without work ends, in ms. */
const idleMs = 30_000

interface ThreadOptions {
  /** As `programFile` has it. It answers each task with one `TaskResult`, in their order. */
  program: string
  /** What the program is told when it starts. */
  data: unknown
  /** The message of the error of all tasks when the thread fails. */
  failure: string
}

/** A thread of this process that is started when there is a task, and ends when there was none for a while. */
export class ThreadOnDemand<Task, Result extends object> {
  readonly #options: ThreadOptions
  #thread: ReturnType<typeof startThread> | undefined
  /** In the order of the thread. */
  #asked: Deferred<Result>[] = []
  #idle: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ThreadOptions) {
    this.#options = options
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** @param transfer what of the task is moved to the thread @throws OrielError of the task; after `close` */
  async ask(task: Task, transfer: readonly Transferable[] = []): Promise<Result> {
    if (this.#closed) throw shuttingDown()
    const asked = deferred<Result>()
    this.#asked.push(asked)
    this.#running().postMessage(task, transfer)
    return asked.promise
  }

  close(): void {
    this.#closed = true
    this.#end(shuttingDown())
  }

  #running(): ReturnType<typeof startThread> {
    clearTimeout(this.#idle)
    if (this.#thread !== undefined) return this.#thread
    const { program, data } = this.#options
    const thread = startThread(programFile(program), data)
    thread.on('message', (result: TaskResult<Result>) => {
      const asked = this.#asked.shift()
      if ('error' in result) asked?.reject(fromWire(result.error))
      else asked?.resolve(result)
      if (this.#asked.length === 0) this.#idle = setTimeout(() => this.#end(), idleMs).unref()
    })
    thread.on('error', (cause) => this.#end(this.#failed(cause)))
    thread.unref()
    this.#thread = thread
    return thread
  }

  #end(error: OrielError = this.#failed()): void {
    void this.#thread?.terminate()
    this.#thread = undefined
    clearTimeout(this.#idle)
    for (const { reject } of this.#asked.splice(0)) reject(error)
  }

  #failed(cause?: unknown): OrielError {
    return new OrielError('internal', this.#options.failure, { cause })
  }
}
