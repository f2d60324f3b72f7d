import { OrielError, outOfMemory } from '../../errors.ts'
import {
  type Backend,
  type Context,
  type Ggml,
  type Graph,
  type GraphScheduler,
  openNative,
} from '../../native/index.ts'
import { ThreadCount } from './threads.ts'

/** A graph, what is written before it runs, and what is read then. */
export interface Computation<Result> {
  readonly graph: Graph
  write(): void
  read(): Result
}

/** Computes graphs on the CPU, one after the other in the same memory. */
export class Computer {
  readonly ggml: Ggml
  readonly cpu: Backend
  #scheduler: GraphScheduler | null = null
  /** Nodes that the scheduler has room for. */
  #nodes = 0
  readonly #freePool: () => void
  readonly #threads: ThreadCount

  constructor(threads: number) {
    const { ggml, newThreadPool } = openNative()
    const cpu = ggml.initCpu()
    if (cpu === null) throw new OrielError('internal', 'ggml has no back end for this CPU.')
    // Whoever answers goes first: the trainer's threads move to the cores that are free.
    const pool = newThreadPool(threads, { free: true })
    ggml.setThreads(cpu, threads)
    pool?.attachTo(cpu)
    this.ggml = ggml
    this.cpu = cpu
    this.#freePool = () => pool?.free()
    this.#threads = new ThreadCount(threads)
  }

  /**
   * @param nodes as many as the graph has at most
   * @param work how much it computes, in any unit; 0: too little to learn from how long it takes
   * @throws OrielError `internal` without enough memory
   */
  run<Result>(nodes: number, work: number, build: (context: Context) => Computation<Result>): Result {
    const scheduler = this.#schedulerFor(nodes)
    return this.#within(nodes, (context) => {
      const { graph, write, read } = build(context)
      this.ggml.resetScheduler(scheduler)
      if (!this.ggml.allocGraph(scheduler, graph)) throw outOfMemory('There is not enough memory to train.')
      write()
      this.ggml.setThreads(this.cpu, this.#threads.count)
      const begun = performance.now()
      const status = this.ggml.compute(scheduler, graph)
      const ended = performance.now()
      if (work > 0) this.#threads.took(ended - begun, work, ended)
      if (status !== 0) throw new Error(`ggml could not compute a graph of the trainer (status ${status})`)
      return read()
    })
  }

  /** The memory that the values of a graph take, which is not taken. */
  bytesOf(nodes: number, build: (context: Context) => { graph: Graph }): number {
    // A scheduler that has measured a graph takes its memory for allocated.
    const scheduler = this.ggml.newScheduler([this.cpu], nodes)
    try {
      return this.#within(nodes, (context) => this.ggml.graphBytes(scheduler, build(context).graph, 1))
    } finally {
      this.ggml.freeScheduler(scheduler)
    }
  }

  free(): void {
    if (this.#scheduler !== null) this.ggml.freeScheduler(this.#scheduler)
    this.ggml.freeBackend(this.cpu)
    this.#freePool()
  }

  #within<Result>(nodes: number, use: (context: Context) => Result): Result {
    const context = this.ggml.init(nodes)
    try {
      return use(context)
    } finally {
      this.ggml.free(context)
    }
  }

  #schedulerFor(nodes: number): GraphScheduler {
    if (this.#scheduler !== null && nodes <= this.#nodes) return this.#scheduler
    if (this.#scheduler !== null) this.ggml.freeScheduler(this.#scheduler)
    this.#nodes = nodes
    this.#scheduler = this.ggml.newScheduler([this.cpu], nodes)
    return this.#scheduler
  }
}
