import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Deployments } from '../deployments/index.ts'
import type { AnswerAccount } from './answering/answer.ts'

/** Bounds in seconds, from one step of a small model to an answer of minutes. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

export function createMetrics(deployments: Deployments) {
  const registry = new Registry()
  const registers = [registry]
  // The event loop delay is sampled every 100 ms: a shorter interval would wake an idle process more often, on the cores
  // that the engine uses.
  collectDefaultMetrics({ register: registry, prefix: 'oriel_', eventLoopMonitoringPrecision: 100 })

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
    name: 'oriel_engine',
    help: 'Requests of each engine, and its KV cells and cache bytes',
    labelNames: ['model', 'what'] as const,
    registers,
    async collect() {
      this.reset()
      for (const { info, state } of deployments.loaded()) {
        // A restarting engine has no state.
        const found = await state().catch(() => ({}))
        for (const [what, value] of Object.entries(found)) this.set({ model: info.id, what: snake(what) }, value)
      }
    },
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
    text: () => registry.metrics(),
  }
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
