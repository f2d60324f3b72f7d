import { setImmediate as nextTurn } from 'node:timers/promises'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Deployments } from '../../deployments/index.ts'
import type { Metric } from '../../telemetry/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import type { EngineStates } from '../engine-states.ts'
import { promptKinds } from '../shapes/usage.ts'
import type { Activity } from './activity.ts'
import { aliasesOf, vllmAliases } from './aliases.ts'
import { EngineMetrics } from './engine-metrics.ts'
import { metricText } from './metric-text.ts'
import { UpstreamMetrics } from './upstream-metrics.ts'
import type { Ending, WatchedAnswer } from './watched-answer.ts'

/** Bounds in seconds, from one step of a small model to an answer of minutes on a CPU. */
const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640]
/** Bounds in seconds: models on CPUs take from 1 ms to some seconds for a token. */
const tokenTimes = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5]
/** Bounds in seconds. Nothing should block the event loop for more than 20 ms. */
const delays = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
/** Bounds in tokens. */
const counts = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]

/** Phases of an answer, as the header `server-timing` names them, and the load of its model before. */
const phases = ['load', 'fetch', 'decode', 'media', 'queue', 'encode', 'prefill', 'generation'] as const
const endings: readonly Ending[] = ['stop', 'length', 'tool_calls', 'content_filter', 'abort', 'error']

/** The interval between samples of the event loop's delay, in ms. A shorter one would wake an idle process more often. */
const sampling = 100
/** Figures of `prom-client` that have the interval of their own timer in them, and gauges that are named as counters. */
const leftOut = [
  ...['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map((part) => `eventloop_lag${part}_seconds`),
  ...['handles', 'requests', 'resources'].map((kind) => `active_${kind}_total`),
]

/** A request whose texts were embedded. */
export interface EmbeddedWork {
  readonly requestId: string
  /** The model's own name. */
  readonly model: string
  readonly texts: number
  readonly promptTokens: number
  /** Numbers of each embedding. */
  readonly dimensions: number
  /** Of the whole request, and until its model was loaded. */
  readonly ms: number
  readonly loadMs: number
}

/** The numbers of this server. Each is counted once, whatever names it is read by. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #engines: EngineMetrics
  readonly #upstreams: UpstreamMetrics
  readonly #known = new Set<string>()
  readonly #timer: NodeJS.Timeout
  readonly #responses
  readonly #phases
  readonly #answers
  readonly #firstTokens
  readonly #perToken
  readonly #tokenTimes
  readonly #promptLengths
  readonly #answerLengths
  readonly #promptTokens
  readonly #cachedTokens
  readonly #imageTokens
  readonly #videoTokens
  readonly #audioTokens
  readonly #images
  readonly #recordings
  readonly #generatedTokens
  readonly #adapterAnswers
  readonly #choices
  readonly #embeddedTexts
  readonly #embeddings

  constructor(
    deployments: Pick<Deployments, 'memory' | 'maxAdapters' | 'upstreams'>,
    engines: EngineStates,
    activity: Pick<Activity, 'adapters'>,
  ) {
    const registers = [this.#registry]
    const histogram = <Label extends string>(name: string, help: string, buckets: number[], ...labelNames: Label[]) =>
      new Histogram({ name, help, buckets, labelNames, registers })
    const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
      new Counter({ name, help, labelNames, registers })
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        ...{ name, help, registers },
        collect() {
          this.set(value())
        },
      })

    this.#responses = histogram(
      'oriel_http_response_seconds',
      'Duration of responses; status 499: the client left',
      durations,
      ...(['method', 'route', 'status'] as const),
    )
    this.#answers = histogram(
      'oriel_answer_seconds',
      'Duration of complete answers, from the request to the last token',
      durations,
      ...(['model', 'operation'] as const),
    )
    this.#firstTokens = histogram(
      'oriel_time_to_first_token_seconds',
      'Time to the first token of complete answers, including load, media, queue and prefill',
      durations,
      ...(['model', 'operation'] as const),
    )
    this.#perToken = histogram(
      'oriel_time_per_output_token_seconds',
      'Mean time for each token after the first, of each complete answer',
      tokenTimes,
      ...(['model', 'operation'] as const),
    )
    this.#tokenTimes = histogram(
      'oriel_inter_token_latency_seconds',
      'Time between two tokens of a choice',
      tokenTimes,
      'model',
    )
    this.#phases = histogram(
      'oriel_phase_seconds',
      'Duration of each phase of complete answers; media covers fetch and decode',
      durations,
      ...(['model', 'phase'] as const),
    )
    this.#promptLengths = histogram(
      'oriel_answer_prompt_tokens',
      'Tokens of the prompt of each answer',
      counts,
      ...(['model', 'operation'] as const),
    )
    this.#answerLengths = histogram(
      'oriel_answer_generated_tokens',
      'Tokens of all choices of each answer',
      counts,
      ...(['model', 'operation'] as const),
    )
    this.#promptTokens = counter(
      'oriel_prompt_tokens_total',
      'Tokens of prompts, including cached ones and those of attachments, and of embedded texts',
      'model',
    )
    this.#cachedTokens = counter('oriel_cached_prompt_tokens_total', 'Tokens of prompts whose KV was cached', 'model')
    this.#imageTokens = counter('oriel_image_prompt_tokens_total', 'Tokens of prompts that are images', 'model')
    this.#videoTokens = counter(
      'oriel_video_prompt_tokens_total',
      'Tokens of prompts that are frames of videos',
      'model',
    )
    this.#audioTokens = counter('oriel_audio_prompt_tokens_total', 'Tokens of prompts that are audio', 'model')
    this.#images = counter('oriel_images_total', 'Images in prompts', 'model')
    this.#recordings = counter(
      'oriel_recordings_total',
      'Videos in prompts, and audio, the sound of videos included',
      ...(['model', 'kind'] as const),
    )
    this.#generatedTokens = counter('oriel_generated_tokens_total', 'Tokens of answers, complete or not', 'model')
    this.#choices = counter(
      'oriel_choices_total',
      'Choices of answers by what ended them; abort: the client left; content_filter: an upstream withheld the rest',
      ...(['model', 'reason'] as const),
    )
    this.#adapterAnswers = counter(
      'oriel_adapter_answers_total',
      'Answers that began with an adapter',
      ...(['model', 'adapter'] as const),
    )
    this.#embeddedTexts = counter('oriel_embedded_texts_total', 'Texts that were embedded', 'model')
    this.#embeddings = histogram(
      'oriel_embedding_seconds',
      'Duration of complete requests to embed texts, including load and queue',
      durations,
      'model',
    )
    new Gauge({
      name: 'oriel_adapters_asked_seconds',
      help: 'The time, with the adapters of running and of waiting requests, and how many may be loaded',
      labelNames: ['running', 'waiting', 'most'],
      registers,
      collect() {
        const { running, waiting } = activity.adapters
        this.reset()
        this.set(
          { running: running.join(','), waiting: waiting.join(','), most: deployments.maxAdapters },
          Date.now() / 1000,
        )
      },
    })
    gauge('oriel_models_budget_bytes', 'Memory that models may take', () => deployments.memory.budget)
    gauge('oriel_models_taken_bytes', 'Memory that loaded models take', () => deployments.memory.taken)
    this.#engines = new EngineMetrics(this.#registry, engines)
    this.#upstreams = new UpstreamMetrics(this.#registry, () => deployments.upstreams(), durations)

    const delay = histogram('oriel_event_loop_delay_seconds', 'How late the event loop runs a timer', delays)
    let last = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      delay.observe(Math.max(0, now - last - sampling) / 1000)
      last = now
    }, sampling).unref()
    collectDefaultMetrics({ register: this.#registry, prefix: 'oriel_', eventLoopMonitoringPrecision: sampling })
    for (const name of leftOut) this.#registry.removeSingleMetric(`oriel_nodejs_${name}`)
  }

  /** Counts the prompt of an answer that begins. */
  began({ usage, servedBy: model, adapter }: RunningAnswer): void {
    this.#introduce(model)
    if (adapter !== null) this.#adapterAnswers.inc({ model, adapter })
    const { cachedTokens, imageTokens, videoTokens, audioTokens, images } = promptKinds(usage)
    this.#promptTokens.inc({ model }, usage.promptTokens)
    this.#cachedTokens.inc({ model }, cachedTokens)
    this.#imageTokens.inc({ model }, imageTokens)
    this.#videoTokens.inc({ model }, videoTokens)
    this.#audioTokens.inc({ model }, audioTokens)
    this.#images.inc({ model }, images)
    this.#recordings.inc({ model, kind: 'video' }, usage.videoTokens?.length ?? 0)
    this.#recordings.inc({ model, kind: 'audio' }, usage.audioTokens?.length ?? 0)
  }

  /** @param count new tokens of a choice @param ms between each and the one before; undefined for the first */
  generated(model: string, count: number, ms: number | undefined): void {
    this.#generatedTokens.inc({ model }, count)
    if (ms !== undefined) for (let i = 0; i < count; i++) this.#tokenTimes.observe({ model }, ms / 1000)
  }

  /** Records an answer that is complete or has broken off. */
  ended(watched: WatchedAnswer): void {
    const { usage, media, loadMs, servedBy: model, operation, upstream } = watched.answer
    this.#promptLengths.observe({ model, operation }, usage.promptTokens)
    this.#answerLengths.observe({ model, operation }, watched.completionTokens)
    for (const reason of watched.endings) this.#choices.inc({ model, reason })
    const { tally, duration, firstToken, perToken } = watched
    if (tally === undefined || duration === undefined || firstToken === undefined) return
    this.#answers.observe({ model, operation }, duration / 1000)
    this.#firstTokens.observe({ model, operation }, firstToken / 1000)
    if (upstream !== undefined) this.#upstreams.answered(upstream, firstToken)
    if (perToken !== undefined) this.#perToken.observe({ model, operation }, perToken / 1000)
    const times = { load: loadMs, ...media, ...tally.timings }
    for (const phase of phases) this.#phases.observe({ model, phase }, times[phase] / 1000)
  }

  embedded({ model, texts, promptTokens, ms }: EmbeddedWork): void {
    this.#introduce(model)
    this.#promptTokens.inc({ model }, promptTokens)
    this.#embeddedTexts.inc({ model }, texts)
    this.#embeddings.observe({ model }, ms / 1000)
  }

  /** Records a response. @param route pattern of the route, to keep the number of label values small @param ms its duration */
  responded(method: string, route: string, status: number, ms: number): void {
    this.#responses.observe({ method, route, status: String(status) }, ms / 1000)
  }

  /** All metrics by their own names. Waits a second for the engines: one that does not answer has no figures. */
  async read(): Promise<Metric[]> {
    for (const model of await this.#engines.update(1000)) this.#introduce(model)
    const metrics: Metric[] = []
    for (const { name } of this.#registry.getMetricsAsArray()) {
      const metric = await this.#registry.getSingleMetric(name)?.get()
      // Its declaration says that the type is a number.
      if (metric !== undefined)
        metrics.push({ ...metric, type: String(metric.type) as Metric['type'], unit: unitOf(name) })
      // There may be thousands of series: others have the event loop in between.
      await nextTurn()
    }
    return metrics
  }

  /** All metrics by their own names and those of vLLM, in the format of Prometheus. */
  async text(): Promise<string> {
    const metrics = await this.read()
    const texts: string[] = []
    for (const metric of metrics) {
      texts.push(metricText(metric))
      await nextTurn()
    }
    for (const alias of vllmAliases.all) {
      texts.push(...aliasesOf(metrics, { ...vllmAliases, all: [alias] }).map(metricText))
      await nextTurn()
    }
    return `${texts.join('\n\n')}\n`
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** A model has all of its series from its first scrape on, so that rates and alerts do not miss the first events. */
  #introduce(model: string): void {
    if (this.#known.has(model)) return
    this.#known.add(model)
    const operation = 'chat'
    for (const one of [this.#answers, this.#firstTokens, this.#perToken, this.#promptLengths, this.#answerLengths])
      one.zero({ model, operation })
    this.#tokenTimes.zero({ model })
    this.#embeddings.zero({ model })
    this.#embeddedTexts.inc({ model }, 0)
    for (const phase of phases) this.#phases.zero({ model, phase })
    for (const reason of endings) this.#choices.inc({ model, reason }, 0)
    const kinds = [this.#imageTokens, this.#videoTokens, this.#audioTokens, this.#images]
    for (const one of [this.#promptTokens, this.#cachedTokens, ...kinds, this.#generatedTokens]) one.inc({ model }, 0)
    for (const kind of ['video', 'audio']) this.#recordings.inc({ model, kind }, 0)
  }
}

/** The last word of a name, without what marks a counter. */
const unitOf = (name: string): string => /([a-z]+?)(?:_total)?$/.exec(name)?.[1] ?? ''
