import { Counter, Gauge, type Registry } from 'prom-client'
import type { BackendState } from '../../deployments/index.ts'
import type { EngineStates } from '../engine-states.ts'

/** What engines report about themselves: a metric for each figure, because each has its own unit. */
const figures: Readonly<Record<string, { name: string; help: string }>> = {
  running: { name: 'running_sequences', help: 'Sequences that are being computed' },
  waiting: { name: 'waiting_requests', help: 'Requests in the queue' },
  cells: { name: 'kv_cells', help: 'Cells of the KV memory' },
  freeCells: { name: 'free_kv_cells', help: 'Cells of the KV memory that hold nothing' },
  storedCells: { name: 'stored_kv_cells', help: 'Cells of the KV memory that hold stored prefixes' },
  storedPrefixes: { name: 'stored_prefixes', help: 'Prefixes of prompts that are kept in the KV memory' },
  shelvedBytes: { name: 'shelved_bytes', help: 'Prefixes that are kept outside the KV memory' },
  adapters: { name: 'adapters', help: 'Adapters that are loaded' },
  encoderCacheBytes: { name: 'encoder_cache_bytes', help: 'Cached embeddings of images' },
}

/** The metrics of the loaded engines. */
export class EngineMetrics {
  readonly #engines: EngineStates
  readonly #registry: Registry
  readonly #gauges = new Map<string, Gauge<'model'>>()
  readonly #use: Gauge<'model'>
  readonly #preemptions: Counter<'model'>

  constructor(registry: Registry, engines: EngineStates) {
    this.#engines = engines
    this.#registry = registry
    for (const figure of Object.keys(figures)) this.#gaugeOf(figure)
    this.#use = this.#gauge('kv_use_ratio', 'Share of the KV memory that running sequences hold')
    this.#preemptions = new Counter({
      name: 'oriel_engine_preemptions_total',
      help: 'Sequences that lost their place in the KV memory, and were computed again, since the engine started',
      labelNames: ['model'],
      registers: [registry],
    })
  }

  /** Asks the engines. @param ms the longest wait @returns the models that answered */
  async update(ms: number): Promise<string[]> {
    const known = await this.#engines.fresh(ms)
    for (const metric of [...this.#gauges.values(), this.#use, this.#preemptions]) metric.reset()
    /** A model may have several engines. */
    const answered = new Map<string, BackendState>()
    for (const { model, status, last } of known)
      if (status === 'ok' && last !== undefined) answered.set(model, sumOf(answered.get(model), last.state))
    for (const [model, state] of answered) {
      const { preemptions = 0, ...gauges } = state
      for (const [figure, value] of Object.entries(gauges)) this.#gaugeOf(figure).set({ model }, value)
      this.#use.set({ model }, useOf(state))
      this.#preemptions.inc({ model }, preemptions)
    }
    return [...answered.keys()]
  }

  /** A backend of the program's own may report figures that are not in the table. */
  #gaugeOf(figure: string): Gauge<'model'> {
    const { name, help } = figures[figure] ?? { name: snake(figure), help: 'Reported by the backend' }
    const gauge = this.#gauges.get(name) ?? this.#gauge(name, help)
    this.#gauges.set(name, gauge)
    return gauge
  }

  #gauge(name: string, help: string): Gauge<'model'> {
    return new Gauge({ name: `oriel_engine_${name}`, help, labelNames: ['model'], registers: [this.#registry] })
  }
}

function sumOf(before: BackendState | undefined, state: BackendState): BackendState {
  if (before === undefined) return state
  const figures = Object.keys({ ...before, ...state }).map((name) => [name, (before[name] ?? 0) + (state[name] ?? 0)])
  return { ...before, ...Object.fromEntries(figures) }
}

/** Stored prefixes give way to requests, so they do not count. */
function useOf({ cells = 0, freeCells = 0, storedCells = 0 }: BackendState): number {
  return cells === 0 ? 0 : Math.max(0, cells - freeCells - storedCells) / cells
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
