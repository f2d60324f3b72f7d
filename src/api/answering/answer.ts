import { randomUUID } from 'node:crypto'
import type { Accounts, ModelPrices } from '../../accounts/index.ts'
import type {
  Answer,
  AnswerEvent,
  Backend,
  Count,
  Deployments,
  DescribedPrompt,
  MediaTimings,
  ModelInfo,
  NamedModel,
  Phase,
  PromptUsage,
  Tally,
} from '../../deployments/index.ts'
import { changingErrors, OrielError } from '../../errors.ts'
import { EventQueue } from '../../event-queue.ts'
import type { Machine } from '../../machine/index.ts'
import type { Tuning } from '../../tuning/index.ts'
import { Turns } from '../../turns.ts'
import type { ResponseStore } from '../responses/store.ts'
import type { AnswerRequest, ClientRequest } from './request.ts'

export interface AnswerServices {
  accounts: Accounts
  deployments: Deployments
  machine: Machine
  tuning: Tuning
  /** Removes all fetched files from the cache. */
  clearCache(): Promise<void>
  /** What requests of the Responses API may continue. */
  responses: ResponseStore
}

/** An answer that has begun. Dialects give it their own shape. */
export interface RunningAnswer extends Omit<Answer, 'prompt'> {
  /** Without the prefix that each dialect has. */
  id: string
  /** Seconds since 1970. */
  created: number
  /** As the request names it. */
  model: string
  /** The model's own name. */
  servedBy: string
  /** The id of the adapter that it answers with; null: none. */
  adapter: string | null
  prices: ModelPrices
  choices: number
  /** As OpenTelemetry names them. */
  operation: 'chat' | 'text_completion'
  /** When the request began, by `performance.now()`. */
  began: number
  /** Time until its model was loaded, in ms. */
  loadMs: number
  /** Whether its model had to be loaded first. */
  isCold: boolean
  /** When the model began to answer, by `performance.now()`. */
  admitted: number
  /** The prompt of a choice, if the request asks for it. */
  promptOf(choice: number): DescribedPrompt | null
}

/** A prompt that went to a server elsewhere, and what it takes there, by estimate. */
export interface SentPrompt {
  readonly request: AnswerRequest
  /** null: the server did not answer it, and it goes to another one or nowhere. */
  readonly usage: PromptUsage | null
  readonly servedBy: string
}

/** Hears how answers begin. */
interface Beginning {
  /** What a request waits for. */
  phase(phase: Phase): void
  sent(prompt: SentPrompt): void
}

/**
 * Starts an answer. Errors of the request are thrown here, before the first byte of the answer.
 * @throws OrielError
 */
function startAnswer(
  { accounts }: AnswerServices,
  model: NamedModel,
  request: ClientRequest,
  signal: AbortSignal,
  beginning: Beginning,
): Promise<RunningAnswer> {
  const began = performance.now()
  let isCold = false
  const onCold = (): void => {
    isCold = true
  }
  return withBackend(model, { ...request, onCold }, signal, async (backend) => {
    const loadMs = performance.now() - began
    beginning.phase('queued')
    const { prompt, events, ...answer } = await backend.answer(
      request,
      signal,
      (phase) => beginning.phase(phase),
      (usage) => beginning.sent({ request, usage, servedBy: backend.info.id }),
    )
    return {
      ...answer,
      ignored: answer.ignored?.map((param) => inRequest(request, param)) ?? [],
      events: changingErrors(events, (error) => forRequest(request, error)),
      id: randomUUID(),
      created: Math.floor(Date.now() / 1000),
      model: request.model,
      servedBy: backend.info.id,
      adapter: model.adapter?.id ?? null,
      prices: accounts.pricesOf(backend.info.id),
      choices: request.settings.n,
      operation: request.prompt.kind === 'chat' ? 'chat' : 'text_completion',
      began,
      loadMs,
      isCold,
      admitted: performance.now(),
      promptOf: () => prompt,
    }
  })
}

/** Waits for the model, which stays loaded until the signal aborts. Errors name the parameters of the request. */
export async function withBackend<T>(
  model: NamedModel,
  request: ClientRequest & { onCold?: () => void },
  signal: AbortSignal,
  work: (backend: Backend) => Promise<T>,
): Promise<T> {
  try {
    const backend = await model.backend(signal, request)
    return await work(backend)
  } catch (error) {
    throw forRequest(request, error)
  }
}

function forRequest(request: AnswerRequest, error: unknown): unknown {
  if (!(error instanceof OrielError) || error.param === undefined) return error
  const param = inRequest(request, error.param)
  return param === error.param ? error : error.at(param)
}

/** What most dialects call settings. */
const words: Readonly<Record<string, string>> = {
  ...{ topK: 'top_k', minP: 'min_p', typicalP: 'typical_p', mirostat: 'mirostat_target', seed: 'seed', n: 'n' },
  ...{ repetitionPenalty: 'repetition_penalty', frequencyPenalty: 'frequency_penalty' },
  ...{ presencePenalty: 'presence_penalty', minTokens: 'min_tokens', stopTokens: 'stop_token_ids' },
  ...{ includeStop: 'include_stop_str_in_output', ignoreEos: 'ignore_eos', topLogprobs: 'logprobs' },
  ...{ promptLogprobs: 'logprobs', wantsTokens: 'return_token_ids', cachePrompt: 'cache_prompt' },
  ...{ cachedMost: 'prompt_cache_max_len', isolation: 'prompt_cache_isolation_key', logitBias: 'logit_bias' },
  ...{ maxTokens: 'max_tokens', boxes: 'return_boxes', variables: 'chat_template_kwargs', adapter: 'model' },
}

/** Backends name parts of an `Ask`. Dialects have other names for some of them. */
function inRequest({ params }: AnswerRequest, param: string): string {
  const [first = '', ...rest] = param.split('.')
  const word = { ...words, ...params }[first]
  return word === undefined ? param : [word, ...rest].join('.')
}

export type PromptCounts = (Count & { request: AnswerRequest; model: ModelInfo })[]

/** @throws OrielError */
export const countPrompts = (
  model: NamedModel,
  requests: readonly ClientRequest[],
  signal: AbortSignal,
): Promise<PromptCounts> =>
  Promise.all(
    requests.map((request) => {
      const own = AbortSignal.any([signal])
      return withBackend(model, request, own, async (backend) => ({
        ...(await backend.count(request, own)),
        request,
        model: backend.info,
      }))
    }),
  )

/** Of all prompts together. */
export const promptTokensOf = (prompts: PromptCounts): number =>
  prompts.reduce((sum, { promptTokens }) => sum + promptTokens, 0)

/** Starts one answer for each prompt and joins them: the choices of the first prompt come first. */
export async function startAnswers(
  services: AnswerServices,
  model: NamedModel,
  requests: readonly ClientRequest[],
  signal: AbortSignal,
  beginning: Beginning,
): Promise<RunningAnswer> {
  const [only, ...others] = requests
  if (only !== undefined && others.length === 0) return startAnswer(services, model, only, signal, beginning)
  const failed = new AbortController()
  // A signal stands for one prompt: it has the prompt's downloads, and few listeners.
  const own = () => AbortSignal.any([signal, failed.signal])
  try {
    return together(
      await Promise.all(requests.map((request) => startAnswer(services, model, request, own(), beginning))),
    )
  } catch (error) {
    failed.abort()
    throw error
  }
}

function together(answers: readonly RunningAnswer[]): RunningAnswer {
  const [first] = answers
  if (first === undefined) throw new Error('a request without a prompt')
  const sum = (of: (answer: RunningAnswer) => number): number =>
    answers.reduce((total, answer) => total + of(answer), 0)
  return {
    ...first,
    choices: sum(({ choices }) => choices),
    usage: usageOfAll(answers),
    media: slowest(answers.map(({ media }) => media)),
    promptOf: (choice) => answers[Math.floor(choice / first.choices)]?.promptOf(0) ?? null,
    events: interleaved(answers.map((answer, index) => shifted(answer, index * first.choices))),
  }
}

/** The usage of prompts together. A backend may change its own until its tally has come. */
export function usageOfAll(prompts: readonly { readonly usage: PromptUsage }[]): PromptUsage {
  const sum = (of: (usage: PromptUsage) => number): number => prompts.reduce((total, { usage }) => total + of(usage), 0)
  return {
    get promptTokens() {
      return sum(({ promptTokens }) => promptTokens)
    },
    get cachedTokens() {
      return sum(({ cachedTokens }) => cachedTokens)
    },
    get imageTokens() {
      return prompts.flatMap(({ usage }) => usage.imageTokens)
    },
    get videoTokens() {
      return prompts.flatMap(({ usage }) => usage.videoTokens ?? [])
    },
    get audioTokens() {
      return prompts.flatMap(({ usage }) => usage.audioTokens ?? [])
    },
  }
}

async function* shifted({ events }: RunningAnswer, by: number): AsyncIterable<AnswerEvent> {
  for await (const event of events) yield event.type === 'done' ? event : { ...event, choice: event.choice + by }
}

/** Events of answers that are joined. */
const joined = new Turns()

/** Events of all answers as they come, with one tally at the end. */
async function* interleaved(streams: readonly AsyncIterable<AnswerEvent>[]): AsyncIterable<AnswerEvent> {
  // Not Promise.race: one stream that waits long would hold every event that comes meanwhile.
  const queue = new EventQueue<{ index: number; next: () => void; result: IteratorResult<AnswerEvent> }>()
  for (const [index, stream] of streams.entries()) {
    const iterator = stream[Symbol.asyncIterator]()
    const next = (): void =>
      void iterator.next().then(
        (result) => queue.push({ index, next, result }),
        (error: unknown) => queue.fail(error),
      )
    next()
  }
  const tallies = new Map<number, Tally>()
  let open = streams.length
  for await (const { index, next, result } of queue) {
    if (result.done) {
      if (--open === 0) break
      continue
    }
    next()
    if (result.value.type === 'done') tallies.set(index, result.value.tally)
    else {
      yield result.value
      // While one was written, many others may have come.
      await joined.next()
    }
  }
  const last = [...tallies.values()].at(-1)
  const inOrder = streams.flatMap((_, index) => tallies.get(index) ?? [])
  if (last !== undefined) yield { type: 'done', tally: { ...last, ...totals(inOrder) } }
}

const totals = (tallies: readonly Tally[]) => ({
  completionTokens: tallies.reduce((sum, tally) => sum + tally.completionTokens, 0),
  reasoningTokens: tallies.reduce((sum, tally) => sum + tally.reasoningTokens, 0),
  ...(tallies.some(({ images }) => images === undefined)
    ? {}
    : { images: tallies.flatMap(({ images = [] }) => images) }),
  videos: tallies.flatMap(({ videos = [] }) => videos),
  audio: tallies.flatMap(({ audio = [] }) => audio),
})

const slowest = (all: readonly MediaTimings[]): MediaTimings => ({
  fetch: Math.max(...all.map(({ fetch }) => fetch)),
  decode: Math.max(...all.map(({ decode }) => decode)),
  media: Math.max(...all.map(({ media }) => media)),
})
