import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Deployments } from '../deployments/index.ts'
import type { AnswerAccount } from './answering/answer.ts'
import type { EngineStates } from './engine-states.ts'

/** Bounds in seconds, from one step of a small model to an answer of minutes. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/**
 * The interval between samples of the event loop's delay, in ms. A shorter one would wake an idle process more often, on
 * the cores that the engine uses.
 */
const sampling = 100
/** The figures of `prom-client` that have this interval in them. */
const samplingMetrics = ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map(
  (suffix) => `oriel_nodejs_eventloop_lag${suffix}_seconds`,
)

export function createMetrics(deployments: Pick<Deployments, 'memory'>, engines: EngineStates) {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'oriel_', eventLoopMonitoringPrecision: sampling })
  for (const name of samplingMetrics) registry.removeSingleMetric(name)
  const delay = monitorEventLoopDelay({ resolution: sampling })
  delay.enable()
  new Gauge({
    name: 'oriel_event_loop_delay_seconds',
    help: 'How late the event loop is, since the last scrape',
    labelNames: ['quantile'] as const,
    registers,
    collect() {
      // What is measured is the time between two samples.
      for (const quantile of [0.5, 0.99, 1])
        this.set({ quantile: String(quantile) }, Math.max(0, delay.percentile(quantile * 100) / 1e9 - sampling / 1000))
      delay.reset()
    },
  })

  const responses = new Histogram({
    name: 'oriel_http_response_seconds',
    help: 'Duration of responses',
    labelNames: ['method', 'route', 'status'] as const,
    buckets,
    registers,
  })
  const phases = new Histogram({
    name: 'oriel_phase_seconds',
    help: 'Duration of each phase of an answer; media covers fetch and decode, first_token covers queue, encode and prefill',
    labelNames: ['model', 'phase'] as const,
    buckets,
    registers,
  })
  const tokens = new Counter({
    name: 'oriel_tokens_total',
    help: 'Tokens by kind; prompt tokens include cached and image tokens',
    labelNames: ['model', 'kind'] as const,
    registers,
  })
  new Gauge({
    name: 'oriel_models_memory_bytes',
    help: 'Memory budget of models, and memory taken by loaded models',
    labelNames: ['what'] as const,
    registers,
    collect() {
      for (const [what, bytes] of Object.entries(deployments.memory)) this.set({ what }, bytes)
    },
  })

  /** One gauge for each figure that engines report: each has its own unit. */
  const figures = new Map<string, Gauge<'model'>>()
  const figureOf = (figure: string): Gauge<'model'> => {
    const gauge =
      figures.get(figure) ??
      new Gauge({
        name: `oriel_engine_${units[figure] ?? snake(figure)}`,
        help: `Reported by each engine: ${words(units[figure] ?? snake(figure))}`,
        labelNames: ['model'] as const,
        registers,
      })
    figures.set(figure, gauge)
    return gauge
  }

  return {
    contentType: registry.contentType,
    /** Records a complete answer. */
    answered({ model, usage, completionTokens: completion, timings }: AnswerAccount): void {
      const image = usage.imageTokens.reduce((sum, count) => sum + count, 0)
      const counts = { prompt: usage.promptTokens, cached: usage.cachedTokens, image, completion }
      for (const [kind, count] of Object.entries(counts)) tokens.inc({ model, kind }, count)
      for (const [phase, ms] of Object.entries(timings)) phases.observe({ model, phase: snake(phase) }, ms / 1000)
    },
    /** Records a response. @param route pattern of the route, to keep the number of label values small @param ms its duration */
    responded(method: string, route: string, status: number, ms: number): void {
      responses.observe({ method, route, status: String(status) }, ms / 1000)
    },
    /** Waits a second for the engines. One that does not answer has no figures. */
    async text(): Promise<string> {
      const known = await engines.fresh(1000)
      for (const gauge of figures.values()) gauge.reset()
      for (const { model, status, last } of known)
        if (status === 'ok')
          for (const [figure, value] of Object.entries(last?.state ?? {})) figureOf(figure).set({ model }, value)
      return registry.metrics()
    },
  }
}

/** Figures whose name does not end in their unit. */
const units: { readonly [figure: string]: string } = {
  running: 'running_sequences',
  waiting: 'waiting_requests',
  cells: 'kv_cells',
}

const words = (name: string): string => name.replaceAll('_', ' ')

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
