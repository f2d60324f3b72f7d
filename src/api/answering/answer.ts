import { randomUUID } from 'node:crypto'
import type { GenerateEvent, GenerateRequest, Sampling, Timings } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import {
  type AnswerPiece,
  type AnswerReader,
  beginsThought,
  callTags,
  readAnswer,
  thoughtEnd,
  thoughtTags,
} from '../../prompt/index.ts'
import { forcedCall, inTools } from './forced-call.ts'
import { type AnswerRooms, type MediaTimings, type PreparedPrompt, preparePrompt } from './prepare.ts'
import { type DescribedPrompt, echoOf, promptText, type ToldToken, toldEcho } from './prompt-text.ts'
import type { AnswerRequest, ChatPrompt, Settings } from './request.ts'

/** An answer that the engine has begun. Dialects give it their own shape. */
export interface RunningAnswer {
  /** Without the prefix that each dialect has. */
  id: string
  /** Seconds since 1970. */
  created: number
  /** As the request names it. */
  model: string
  /** The model's own name. */
  servedBy: string
  choices: number
  /** The prompt's accounts: the engine has taken the request in. */
  usage: PromptUsage
  /** The prompt of a choice, only where the request wants it. */
  promptOf(choice: number): DescribedPrompt | null
  /** What the tokens are chosen by, defaults filled in. */
  sampling: Sampling
  /** Everything that follows. */
  events: AsyncIterable<AnswerEvent>
  media: MediaTimings
}

export type PromptUsage = Omit<Extract<GenerateEvent, { type: 'prompt' }>, 'type'>

/** What is new of a choice: as the model wrote it, and what that is. Pieces may lag behind the text. */
interface AnswerPart {
  type: 'part'
  choice: number
  raw: string
  tokens: readonly ToldToken[]
  pieces: readonly AnswerPiece[]
}

export type EndReason = 'stop' | 'length' | 'tool_calls'

export type AnswerEvent =
  | AnswerPart
  /** `stop`: the stop string that ended it, if one did. */
  | {
      type: 'end'
      choice: number
      reason: EndReason
      stop: string | null
      completionTokens: number
      reasoningTokens: number
    }
  | { type: 'done'; timings: Timings }

/**
 * From a request to a running answer. Whatever is wrong with the request is thrown here, before the first byte of an
 * answer.
 * @throws OrielError
 */
export async function startAnswer(
  rooms: AnswerRooms,
  request: AnswerRequest,
  signal: AbortSignal,
): Promise<RunningAnswer> {
  try {
    return await start(rooms, request, signal)
  } catch (error) {
    throw error instanceof OrielError ? inPlace(error, request) : error
  }
}

/** Names the dialect's parameter instead of the engine's (`prompt`, `grammar`). */
export function inPlace(error: OrielError, { params, prompt }: AnswerRequest): OrielError {
  if (error.param === 'grammar' && isForced(prompt)) return inTools(error, prompt.tools)
  const place = { messages: params.prompt, prompt: params.prompt, grammar: params.grammar }[error.param ?? '']
  return place === undefined ? error : error.at(place)
}

const isForced = (prompt: AnswerRequest['prompt']): prompt is ChatPrompt =>
  prompt.kind === 'chat' && prompt.calling.mode === 'forced'

async function start(rooms: AnswerRooms, request: AnswerRequest, signal: AbortSignal): Promise<RunningAnswer> {
  const prepared = await preparePrompt(rooms, request, signal)
  const { backend, pieces, media } = prepared
  const thinking = isThinking(request, prepared)
  const generate = generateRequest(request, prepared, thinking)
  const { echo, wantsTokens } = request.settings
  const tokens = echo !== null || wantsTokens ? (await backend.count(pieces)).tokens : null
  const prompt = tokens === null ? null : { text: promptText(prepared.parts, prepared.pictures, tokens), tokens }
  const events = backend.generate(generate, signal)[Symbol.asyncIterator]()
  const first = await events.next()
  if (first.done || first.value.type !== 'prompt') throw new Error('the engine did not begin with the prompt')
  const { promptTokens, cachedTokens, imageTokens } = first.value
  const readers = Array.from({ length: generate.n }, () => readerOf(request, thinking))
  return {
    id: randomUUID(),
    created: Math.floor(Date.now() / 1000),
    model: request.model,
    servedBy: backend.card.id,
    choices: generate.n,
    usage: { promptTokens, cachedTokens, imageTokens },
    promptOf: () => prompt,
    sampling: generate.sampling,
    events: read({ [Symbol.asyncIterator]: () => events }, readers, prompt, request.settings),
    media,
  }
}

/** Whether the prompt ends in a thought that the answer goes on with. */
function isThinking({ prompt }: AnswerRequest, { parts }: PreparedPrompt): boolean {
  const last = parts.at(-1)
  return prompt.kind === 'chat' && last?.kind === 'text' && last.special && beginsThought(last.text)
}

function generateRequest(
  request: AnswerRequest,
  { backend, pieces }: PreparedPrompt,
  thinking: boolean,
): GenerateRequest {
  const { settings, prompt } = request
  const { card, model } = backend
  const forced = isForced(prompt) ? forcedCall(prompt.tools) : null
  const tags = prompt.kind === 'chat' ? [...(prompt.tools.length > 0 ? callTags : []), ...thoughtTags] : []
  const { sampling } = settings
  for (const { token } of sampling.logitBias ?? [])
    if (token >= model.vocabulary)
      throw new OrielError(
        'invalid',
        `logit_bias names token ${token}, and this model's tokens are below ${model.vocabulary}.`,
        { param: `logit_bias.${token}`, code: 'invalid_value' },
      )
  return {
    prompt: pieces,
    maxTokens: settings.maxTokens,
    overflow: settings.overflow,
    n: settings.n,
    stop: settings.stop,
    ignoreEos: settings.ignoreEos,
    shownTokens: tags.filter((tag) => model.controlTokens.includes(tag)),
    sampling: {
      temperature: sampling.temperature ?? card.sampling.temperature ?? 1,
      topP: sampling.topP ?? card.sampling.topP ?? 1,
      topK: sampling.topK ?? card.sampling.topK ?? 0,
      minP: sampling.minP ?? card.sampling.minP ?? 0,
      typicalP: sampling.typicalP ?? 1,
      mirostat: sampling.mirostat ?? null,
      repetitionPenalty: sampling.repetitionPenalty ?? 1,
      frequencyPenalty: sampling.frequencyPenalty ?? 0,
      presencePenalty: sampling.presencePenalty ?? 0,
      seed: sampling.seed ?? null,
      logitBias: sampling.logitBias ?? [],
      grammar: forced ?? sampling.grammar ?? null,
      // A thought that the template has begun is the model's own business.
      ...(thinking ? { grammarAfter: thoughtEnd } : {}),
    },
    promptLogprobs: settings.promptLogprobs,
    topLogprobs: settings.topLogprobs ?? (settings.wantsTokens ? 0 : null),
    cacheKey: JSON.stringify(settings.isolation),
    cachePrompt: settings.cachePrompt,
    cachedMost: settings.cachedMost,
  }
}

function readerOf({ prompt, settings }: AnswerRequest, thinking: boolean): AnswerReader {
  const chat = prompt.kind === 'chat' ? prompt : null
  const calls = chat !== null && chat.calling.mode !== 'none'
  return readAnswer({
    tools: new Map(calls ? chat.tools.map((tool) => [tool.name, tool]) : []),
    mostCalls: chat?.calling.parallel === false ? 1 : Number.POSITIVE_INFINITY,
    splitReasoning: chat?.splitReasoning ?? false,
    // What the client wrote itself, or is shown with the prompt, is not put before the answer once more.
    thinking: thinking && (chat?.splitReasoning || (!chat?.continues && settings.echo === null)),
  })
}

async function* read(
  events: AsyncIterable<GenerateEvent>,
  readers: readonly AnswerReader[],
  prompt: DescribedPrompt | null,
  { echo, promptLogprobs }: Settings,
): AsyncIterable<AnswerEvent> {
  const calling = new Set<number>()
  const counts = readers.map(() => ({ all: 0, reasoning: 0 }))
  const part = (choice: number, raw: string, tokens: readonly ToldToken[], pieces: AnswerPiece[]): AnswerPart => {
    if (pieces.some(({ kind }) => kind === 'call')) calling.add(choice)
    return { type: 'part', choice, raw, tokens, pieces }
  }
  const told = (text: string, tokens: readonly ToldToken[] = []): AnswerPart[] =>
    text === '' ? [] : [...readers.keys()].map((choice) => part(choice, text, tokens, [{ kind: 'text', text }]))
  if (prompt !== null && !promptLogprobs) yield* told(echoOf(prompt, echo))
  for await (const event of events) {
    if (event.type === 'text') {
      const { choice, text, tokens, generated } = event
      const reader = readers[choice]
      const thought = reader?.thinking
      const pieces = reader?.push(text) ?? []
      const count = counts[choice]
      if (count !== undefined) {
        if (thought || reader?.thinking) count.reasoning += generated - count.all
        count.all = generated
      }
      yield part(choice, text, tokens, pieces)
    } else if (event.type === 'end') {
      const { choice, reason } = event
      const rest = readers[choice]?.finish() ?? []
      if (rest.length > 0) yield part(choice, '', [], rest)
      const reasoningTokens = counts[choice]?.reasoning ?? 0
      yield { ...event, reasoningTokens, reason: reason === 'stop' && calling.has(choice) ? 'tool_calls' : reason }
    } else if (event.type === 'prompt_logprobs' && prompt !== null) {
      const { text, tokens } = toldEcho(prompt, event.tokens)
      yield* told(text, tokens)
    } else if (event.type === 'done') yield event
  }
}
