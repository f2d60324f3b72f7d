import { randomUUID } from 'node:crypto'
import type { Backend, Deployments, GenerateEvent, GenerateRequest, PromptPiece } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import type { Media } from '../media/index.ts'
import { type ChatLayout, compileTemplate } from '../prompt/index.ts'
import type { ChatRequest } from './chat-schema.ts'
import { readMessages } from './content.ts'

/** What answering a chat needs. */
export interface ChatRooms {
  deployments: Deployments
  media: Media
}

/** A chat that the engine has begun to answer. */
export interface RunningChat {
  id: string
  /** Seconds since 1970. */
  created: number
  model: string
  n: number
  /** The prompt's accounts: the engine has taken the request in. */
  prompt: Extract<GenerateEvent, { type: 'prompt' }>
  /** Everything that follows. */
  events: AsyncIterable<GenerateEvent>
  /** Time that loading the pictures took, in ms. */
  mediaMs: number
}

export interface ChatOptions {
  /** Prefixes are only shared within one key, besides the key that the body may name. */
  isolationKey: string
  /** What to do when prompt and max_tokens exceed the context, unless the body says. */
  overflow: 'error' | 'truncate'
  signal: AbortSignal
}

/**
 * From a request's body to a running answer. Whatever is wrong with the request is thrown here, before the first byte
 * of an answer.
 * @throws OrielError
 */
export async function startChat(
  { deployments, media }: ChatRooms,
  body: ChatRequest,
  options: ChatOptions,
): Promise<RunningChat> {
  const backend = deployments.find(body.model)
  const { messages, sources } = readMessages(body.messages)
  const first = sources[0]
  if (backend.model.vision === null && first !== undefined)
    throw new OrielError('invalid', `The model ${backend.card.id} takes no pictures.`, {
      param: first.param,
      code: 'image_not_supported',
    })
  const start = performance.now()
  const loaded = await media.load(sources, backend.model.vision?.longestEdge ?? 1, options.signal)
  const mediaMs = performance.now() - start
  const prompt = layoutOf(backend)(messages).flatMap((part): PromptPiece[] => {
    if (part.kind === 'text') return [part]
    const source = loaded[part.picture]
    if (source === undefined) throw new Error('the layout names a picture that there is not')
    const detail = sources[part.picture]?.detail ?? 'auto'
    return source.pictures.map(({ width, height, rgb, hash }) => ({
      kind: 'picture',
      picture: { width, height, rgb, hash, detail },
    }))
  })
  const request = generateRequest(body, backend, prompt, options)
  const events = backend.generate(request, options.signal)[Symbol.asyncIterator]()
  const accounts = await events.next()
  if (accounts.done || accounts.value.type !== 'prompt') throw new Error('the engine did not begin with the prompt')
  return {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    n: request.n,
    prompt: accounts.value,
    events: { [Symbol.asyncIterator]: () => events },
    mediaMs,
  }
}

const layouts = new WeakMap<Backend, ChatLayout>()

function layoutOf(backend: Backend): ChatLayout {
  let layout = layouts.get(backend)
  if (layout === undefined) {
    layout = compileTemplate(backend.model)
    layouts.set(backend, layout)
  }
  return layout
}

function generateRequest(
  body: ChatRequest,
  { card, model }: Backend,
  prompt: PromptPiece[],
  options: ChatOptions,
): GenerateRequest {
  const { sampling } = card
  return {
    prompt,
    maxTokens: maxTokensOf(body),
    overflow: body.context_length_exceeded_behavior ?? options.overflow,
    n: body.n ?? 1,
    stop: body.stop ?? [],
    ignoreEos: body.ignore_eos ?? false,
    sampling: {
      temperature: body.temperature ?? sampling.temperature ?? 1,
      topP: body.top_p ?? sampling.topP ?? 1,
      topK: body.top_k ?? sampling.topK ?? 0,
      minP: body.min_p ?? sampling.minP ?? 0,
      typicalP: body.typical_p ?? 1,
      repetitionPenalty: body.repetition_penalty ?? 1,
      frequencyPenalty: body.frequency_penalty ?? 0,
      presencePenalty: body.presence_penalty ?? 0,
      seed: body.seed == null ? null : body.seed >>> 0,
      logitBias: logitBiasOf(body, model.vocabulary),
      grammar: grammarOf(body),
    },
    topLogprobs: topLogprobsOf(body),
    cacheKey: JSON.stringify([options.isolationKey, body.prompt_cache_isolation_key ?? '']),
    cachePrompt: body.prompt_cache_max_len !== 0,
  }
}

function logitBiasOf({ logit_bias }: ChatRequest, vocabulary: number): GenerateRequest['sampling']['logitBias'] {
  return Object.entries(logit_bias ?? {}).map(([id, bias]) => {
    const token = Number(id)
    if (token < vocabulary) return { token, bias }
    throw new OrielError('invalid', `logit_bias names token ${id}, and this model's tokens are below ${vocabulary}.`, {
      param: `logit_bias.${id}`,
      code: 'invalid_value',
    })
  })
}

function maxTokensOf({ max_tokens, max_completion_tokens }: ChatRequest): number | null {
  if (max_tokens != null && max_completion_tokens != null && max_tokens !== max_completion_tokens)
    throw new OrielError(
      'invalid',
      `max_tokens is ${max_tokens} and max_completion_tokens is ${max_completion_tokens}: they mean the same, so send one of them.`,
      { param: 'max_tokens', code: 'invalid_value' },
    )
  return max_completion_tokens ?? max_tokens ?? null
}

/** OpenAI's switch and count, or Fireworks' one number that is both. */
function topLogprobsOf({ logprobs, top_logprobs }: ChatRequest): number | null {
  if (typeof logprobs === 'number') return logprobs
  if (logprobs) return top_logprobs ?? 0
  if (top_logprobs != null && top_logprobs > 0)
    throw new OrielError('invalid', 'top_logprobs needs logprobs to be true.', {
      param: 'top_logprobs',
      code: 'invalid_value',
    })
  return null
}

function grammarOf({ response_format: format }: ChatRequest): GenerateRequest['sampling']['grammar'] {
  switch (format?.type) {
    case 'grammar':
      return { kind: 'gbnf', text: format.grammar }
    case 'json_object':
      return { kind: 'json_schema', schema: format.schema ?? { type: 'object' } }
    case 'json_schema':
      return { kind: 'json_schema', schema: format.json_schema.schema ?? { type: 'object' } }
    default:
      return null
  }
}
