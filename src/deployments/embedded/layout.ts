import type { Engine, PromptPiece } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { ChatLayout, ChatMessage } from '../../prompt/index.ts'
import type { Ask, ChatPrompt, PlainPart, PlainPrompt, Settings } from '../ask.ts'
import type { PromptAttachments } from './attachments.ts'
import { checkToken } from './generation.ts'
import { promptOf } from './transcription.ts'

export interface LaidOut {
  parts: readonly PlainPart[]
  pieces: readonly PromptPiece[]
}

export interface LayoutModel {
  engine: Engine
  chats: ChatLayout
}

/**
 * Lays a prompt out in the model's format, with the oldest turns dropped as the request wants it, and with as many frames
 * of its videos as there is room for.
 * @throws OrielError `invalid`
 */
export async function layOut(ask: Ask, attachments: PromptAttachments, model: LayoutModel): Promise<LaidOut> {
  const { settings, client } = ask
  const { engine, chats } = model
  const prompt = promptOf(ask, engine.model)
  const piecesOf = (parts: readonly PlainPart[]): PromptPiece[] =>
    parts.flatMap((part): readonly PromptPiece[] =>
      part.kind === 'text' || part.kind === 'tokens' ? [part] : attachments.pieces(part.attachment),
    )
  const laidOut = (parts: readonly PlainPart[]): LaidOut => ({ parts, pieces: piecesOf(parts) })
  const whole =
    prompt.kind === 'plain' ? knownTokens(prompt, engine) : await chats.layout(prompt.messages, extrasOf(prompt))
  const limit = prompt.kind === 'plain' ? Number.POSITIVE_INFINITY : limitOf(prompt, settings, engine)
  if (limit === Number.POSITIVE_INFINITY && attachments.mostFrames === 0) return laidOut(whole)

  const measured = async (parts: readonly PlainPart[]): Promise<Measured> => {
    const [tokens = 0] = await engine.lengths([piecesOf(parts)], client)
    return { parts, tokens }
  }
  const room = Math.min(limit, roomFor(settings, engine))
  const fitFrames = (kept: Measured): Promise<Measured> => withFewerFrames(kept, room, attachments, measured)
  const all = await measured(whole)
  const kept =
    prompt.kind === 'plain' || all.tokens <= limit
      ? await fitFrames(all)
      : await shortened({ chat: prompt, all, limit }, attachments, chats, measured, fitFrames)
  attachments.letGoOfOthers()
  if (prompt.kind === 'chat') checkLength(kept.tokens, prompt, limit, engine)
  return laidOut(kept.parts)
}

/** A prompt, or a part of it, and its number of tokens: infinite if its text is too long for the context. */
interface Measured {
  readonly parts: readonly PlainPart[]
  readonly tokens: number
}

/** Share of the context that stays free for an answer of unknown length. */
const answerShare = 1 / 4

const answerSpace = (maxTokens: number | null, contextTokens: number): number =>
  Math.min(maxTokens ?? contextTokens, Math.floor(contextTokens * answerShare))

/** Tokens that a prompt may have beside its answer. An answer that is not shortened needs all of its space. */
const roomFor = ({ maxTokens, overflow }: Settings, { model: { contextTokens } }: Engine): number =>
  contextTokens - (maxTokens !== null && overflow === 'error' ? maxTokens : answerSpace(maxTokens, contextTokens))

/** Tokens to which a chat is shortened. */
function limitOf({ longest }: ChatPrompt, { maxTokens }: Settings, { model: { contextTokens } }: Engine): number {
  if (longest === null) return Number.POSITIVE_INFINITY
  return longest === 'context' ? contextTokens - answerSpace(maxTokens, contextTokens) : longest
}

/**
 * Takes fewer frames of a prompt's videos until it fits, by a binary search for the most that do. The search counts the
 * attachments alone, since the text may be long.
 */
async function withFewerFrames(
  kept: Measured,
  room: number,
  attachments: PromptAttachments,
  measured: (parts: readonly PlainPart[]) => Promise<Measured>,
): Promise<Measured> {
  const { parts, tokens } = kept
  if (tokens <= room || tokens === Number.POSITIVE_INFINITY || !attachments.haveOpen(parts)) return kept
  const alone = parts.filter(({ kind }) => kind !== 'text' && kind !== 'tokens')
  const text = tokens - (await measured(alone)).tokens
  let [low, high] = [1, attachments.mostFrames - 1]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    attachments.takeFrames(middle)
    if (text + (await measured(alone)).tokens <= room) low = middle
    else high = middle - 1
  }
  // At its borders a text may have a token more beside an attachment than alone.
  for (let most = low; ; most--) {
    attachments.takeFrames(most)
    const fewer = await measured(parts)
    if (fewer.tokens <= room || most === 1) return fewer
  }
}

const extrasOf = ({ tools, calling, variables, continues }: ChatPrompt) => ({
  tools: calling.mode === 'none' ? [] : tools,
  variables,
  continues,
})

/** A chat that is longer than it may be. */
interface LongChat {
  chat: ChatPrompt
  all: Measured
  limit: number
}

/** Drops turns before frames, but frames before the turn with the last video, which later turns may be about. */
async function shortened(
  { chat, all, limit }: LongChat,
  attachments: PromptAttachments,
  chats: ChatLayout,
  measured: (parts: readonly PlainPart[]) => Promise<Measured>,
  fitFrames: (kept: Measured) => Promise<Measured>,
): Promise<Measured> {
  const { messages } = chat
  const starts = laterTurns(messages)
  const system = messages.slice(0, starts[0] ?? 0).filter(isSystem)
  const from = async (start: number) =>
    measured(await chats.layout([...system, ...messages.slice(start)], extrasOf(chat)))
  /** The most turns that fit, by a binary search: a chat may have thousands of them. */
  const mostOf = async (starts: readonly number[]): Promise<Measured | undefined> => {
    let best: Measured | undefined
    let [low, high] = [0, starts.length]
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const turns = await from(starts[middle] ?? 0)
      if (turns.tokens <= limit) [best, high] = [turns, middle]
      else low = middle + 1
    }
    return best
  }
  const video = messages.findLastIndex(({ content }) => attachments.haveOpen(content))
  const older = video < 0 ? starts : starts.filter((start) => start <= video)
  const newer = starts.slice(older.length)
  const whole = await mostOf(older)
  if (whole !== undefined) return fitFrames(whole)
  const oldest = older.at(-1)
  const withVideo = await fitFrames(oldest === undefined ? all : await from(oldest))
  const newest = newer.at(-1)
  if (withVideo.tokens <= limit || newest === undefined) return withVideo
  return (await mostOf(newer)) ?? from(newest)
}

/** @throws OrielError `invalid` if the last turn is too long */
function checkLength(
  tokens: number,
  { longest }: ChatPrompt,
  limit: number,
  { model: { contextTokens } }: Engine,
): void {
  // The engine says why it does not take a text that is too long to be counted.
  if (tokens <= limit || tokens === Number.POSITIVE_INFINITY) return
  // The answer is shorter than asked for.
  if (longest === 'context' && tokens < contextTokens) return
  const code = longest === 'context' ? 'context_length_exceeded' : 'invalid_value'
  const allowed =
    longest === 'context' ? `the model's context holds ${contextTokens}` : `at most ${longest} are allowed`
  throw new OrielError('invalid', `The last message alone makes a prompt of ${tokens} tokens; ${allowed}.`, {
    param: 'longest',
    code,
  })
}

const isSystem = ({ role }: ChatMessage): boolean => role === 'system'

/** Indexes of the user's turns after the first exchange: where a shortened chat may begin. */
function laterTurns(messages: readonly ChatMessage[]): number[] {
  const start = messages.findIndex((message) => !isSystem(message))
  return messages.flatMap(({ role }, index) => (index > start && role === 'user' ? [index] : []))
}

function knownTokens({ parts }: PlainPrompt, { model }: Engine): PlainPrompt['parts'] {
  for (const part of parts) {
    if (part.kind !== 'tokens') continue
    const { length } = part.tokens
    // Before millions of them are sent to the engine.
    if (length > model.contextTokens)
      throw new OrielError(
        'invalid',
        `This model's context holds ${model.contextTokens} tokens. The prompt has ${length}.`,
        { param: 'prompt', code: 'context_length_exceeded' },
      )
    for (const token of part.tokens) checkToken(token, model, 'prompt')
  }
  return parts
}
