import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Deployments } from '../../deployments/index.ts'
import type { Logger } from '../../log.ts'
import { startTelemetry, type Telemetry } from '../../telemetry/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import type { EngineStates } from '../engine-states.ts'
import { Activity } from './activity.ts'
import { aliasesOf, genAiAliases } from './aliases.ts'
import { type EmbeddedWork, Metrics } from './metrics.ts'
import { requestSpan } from './request-span.ts'
import { WatchedAnswer } from './watched-answer.ts'

/** Sees each request to its end, and tells of it in metrics, in the log, and in traces if they are exported. */
export class Monitor {
  readonly metrics: Metrics
  readonly activity = new Activity()
  readonly #log: Logger
  readonly #watched = new WeakMap<FastifyRequest, WatchedAnswer>()
  readonly #embedded = new WeakMap<FastifyRequest, EmbeddedWork>()
  #telemetry: Telemetry | undefined

  /** Adds its hooks: the first that see a request. */
  constructor(
    server: FastifyInstance,
    deployments: Pick<Deployments, 'memory' | 'maxAdapters' | 'upstreams'>,
    engines: EngineStates,
    log: Logger,
  ) {
    this.#log = log
    this.metrics = new Metrics(deployments, engines, this.activity)
    server.addHook('onReady', async () => {
      const exported = async () => {
        const metrics = await this.metrics.read()
        return [...metrics, ...aliasesOf(metrics, genAiAliases)]
      }
      this.#telemetry = await startTelemetry(exported, log)
    })
    server.addHook('onRequest', async (request, reply) => {
      const began = performance.now()
      reply.raw.once('close', () => this.#finish(request, reply, performance.now() - began))
    })
    server.addHook('onClose', async () => {
      await this.#telemetry?.close()
      this.metrics.close()
    })
  }

  /** The answer to a request. What its events say is counted as they are read. */
  readonly watch = (answer: RunningAnswer, request: FastifyRequest): WatchedAnswer => {
    this.metrics.began(answer)
    const watched = new WatchedAnswer(answer, (watched) => ({
      tokens: (count, ms) => {
        this.metrics.generated(answer.servedBy, count, ms)
        generated(count)
      },
      done: () => {
        this.metrics.ended(watched)
        this.#logAnswer(request.id, watched)
      },
    }))
    const generated = this.activity.answering(request, watched)
    this.#watched.set(request, watched)
    return watched
  }

  /** Texts were embedded. */
  readonly embedded = (work: EmbeddedWork, request: FastifyRequest): void => {
    this.#embedded.set(request, work)
    this.metrics.embedded(work)
    this.#log.info(work, 'texts were embedded')
  }

  /** @param ms since it arrived */
  #finish(request: FastifyRequest, reply: FastifyReply, ms: number): void {
    const status = reply.raw.writableFinished ? reply.raw.statusCode : 499
    const { method, routeOptions, headers } = request
    const watched = this.#watched.get(request)
    this.activity.over(request, status, ms)
    this.metrics.responded(method, routeOptions.url ?? 'unknown', status, ms)
    if (watched !== undefined && watched.tally === undefined) this.metrics.ended(watched)
    // Those of no dialect are the questions of monitors themselves.
    if (routeOptions.config?.dialect !== undefined)
      this.#telemetry?.trace(
        requestSpan({ request, status, ms, watched, embedded: this.#embedded.get(request) }),
        headers,
      )
  }

  #logAnswer(requestId: string, { answer, tally, completionTokens }: WatchedAnswer): void {
    if (tally === undefined) return
    const { servedBy: model, usage, media } = answer
    this.#log.info(
      { requestId, model, completionTokens, ...usage, ...media, ...tally.timings },
      'a request was answered',
    )
  }
}
