import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { UpstreamStatus } from '../../deployments/index.ts'

/** What upstreams tell at each scrape: their names are labels, and their URLs and keys are nowhere. */
export class UpstreamMetrics {
  readonly #firstTokens: Histogram<'upstream'>
  readonly #known = new Set<string>()

  /** @param buckets in seconds */
  constructor(registry: Registry, upstreams: () => readonly UpstreamStatus[], buckets: number[]) {
    const options = { labelNames: ['upstream'] as const, registers: [registry] }
    const gauge = (name: string, help: string, value: (status: UpstreamStatus) => number): void => {
      const metric: Gauge<'upstream'> = new Gauge({
        ...{ name: `oriel_upstream_${name}`, help, ...options },
        collect() {
          metric.reset()
          for (const status of upstreams()) metric.set({ upstream: status.name }, value(status))
        },
      })
    }
    const counter = (name: string, help: string, value: (status: UpstreamStatus) => number): void => {
      const metric: Counter<'upstream'> = new Counter({
        ...{ name: `oriel_upstream_${name}_total`, help, ...options },
        collect() {
          metric.reset()
          for (const status of upstreams()) metric.inc({ upstream: status.name }, value(status))
        },
      })
    }
    gauge('up', 'Whether the upstream gets requests: 0 after failed probes, or while it is left out', ({ isUp }) =>
      Number(isUp),
    )
    gauge('models', 'Models of which the upstream is one that answers', ({ models }) => models)
    gauge('running_requests', 'Requests that the upstream answers now', ({ inFlight }) => inFlight)
    counter('requests', 'Requests that were sent to the upstream', ({ requests }) => requests)
    counter('failures', 'Requests that failed by its fault', ({ failures }) => failures)
    counter('retries', 'Requests that failed and were sent to another upstream', ({ retries }) => retries)
    const introduce = (upstream: string) => this.#introduce(upstream)
    this.#firstTokens = new Histogram({
      name: 'oriel_upstream_time_to_first_token_seconds',
      help: 'Time to the first token of complete answers of the upstream, media included',
      buckets,
      ...options,
      collect() {
        for (const { name } of upstreams()) introduce(name)
      },
    })
  }

  /** @param firstToken time to it, in ms */
  answered(upstream: string, firstToken: number): void {
    this.#introduce(upstream)
    this.#firstTokens.observe({ upstream }, firstToken / 1000)
  }

  /** It has all of its series from its first scrape on. */
  #introduce(upstream: string): void {
    if (this.#known.has(upstream)) return
    this.#known.add(upstream)
    this.#firstTokens.zero({ upstream })
  }
}
