import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Deployments } from '../deployments/index.ts'
import type { AnswerAccount } from './answering/observe.ts'

/** What Prometheus reads at `/metrics`. Each server has its own. */
export interface Metrics {
  /** `text/plain; version=0.0.4; charset=utf-8` */
  readonly contentType: string
  answered(account: AnswerAccount): void
  /** A response went out. @param route the route's pattern, so that names are few */
  responded(method: string, route: string, status: number, ms: number): void
  text(): Promise<string>
}

/** Seconds: from a step of a small model to an answer that takes minutes. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

export function createMetrics(deployments: Deployments): Metrics {
  const registry = new Registry()
  const registers = [registry]
  // The event loop's delay among them: it is what a gateway must keep small. Sampled more often, in ms, it would wake a
  // process that has nothing to do a hundred times a second, on the cores that the engine decodes with.
  collectDefaultMetrics({ register: registry, prefix: 'oriel_', eventLoopMonitoringPrecision: 100 })

  const responses = new Histogram({
    name: 'oriel_http_response_seconds',
    help: 'Time until a response was complete',
    labelNames: ['method', 'route', 'status'] as const,
    buckets,
    registers,
  })
  const phases = new Histogram({
    name: 'oriel_phase_seconds',
    help: 'Time of each phase of an answer; media is fetch and decode, first_token is queue, encode and prefill',
    labelNames: ['model', 'phase'] as const,
    buckets,
    registers,
  })
  const tokens = new Counter({
    name: 'oriel_tokens_total',
    help: 'Tokens by kind; cached and image tokens are among the prompt tokens',
    labelNames: ['model', 'kind'] as const,
    registers,
  })
  new Gauge({
    name: 'oriel_engine',
    help: 'What each engine has under way, and its memory in cells and bytes',
    labelNames: ['model', 'what'] as const,
    registers,
    async collect() {
      this.reset()
      for (const { info, state } of deployments.loaded()) {
        // An engine that is starting again has nothing to tell.
        const found = await state().catch(() => ({}))
        for (const [what, value] of Object.entries(found)) this.set({ model: info.id, what: snake(what) }, value)
      }
    },
  })

  new Gauge({
    name: 'oriel_models_memory_bytes',
    help: 'Memory that models may take, and that those which are loaded have been given',
    labelNames: ['what'] as const,
    registers,
    collect() {
      for (const [what, bytes] of Object.entries(deployments.memory)) this.set({ what }, bytes)
    },
  })

  return {
    contentType: registry.contentType,
    answered({ model, usage, completionTokens, timings }) {
      const images = usage.imageTokens.reduce((sum, count) => sum + count, 0)
      const counts = {
        prompt: usage.promptTokens,
        cached: usage.cachedTokens,
        image: images,
        completion: completionTokens,
      }
      for (const [kind, count] of Object.entries(counts)) tokens.inc({ model, kind }, count)
      for (const [phase, ms] of Object.entries(timings)) phases.observe({ model, phase: snake(phase) }, ms / 1000)
    },
    responded(method, route, status, ms) {
      responses.observe({ method, route, status: String(status) }, ms / 1000)
    },
    text: () => registry.metrics(),
  }
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
