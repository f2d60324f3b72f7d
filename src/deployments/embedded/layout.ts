import type { Engine, PromptPiece } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { ChatFormat, ChatMessage, PromptPart } from '../../prompt/index.ts'
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
  format: ChatFormat
}

/**
 * Lays a prompt out in the model's format, with the oldest turns dropped as the request wants it, and with as many frames
 * of its videos as the context has room for.
 * @throws OrielError `invalid`
 */
export async function layOut(ask: Ask, attachments: PromptAttachments, model: LayoutModel): Promise<LaidOut> {
  const { settings, client } = ask
  const prompt = promptOf(ask, model.engine.model)
  const piecesOf = (parts: readonly PlainPart[]): PromptPiece[] =>
    parts.flatMap((part): readonly PromptPiece[] =>
      part.kind === 'text' || part.kind === 'tokens' ? [part] : attachments.pieces(part.attachment),
    )
  const lengthOf = async (parts: readonly PlainPart[]): Promise<number> => {
    const [length = 0] = await model.engine.lengths([piecesOf(parts)], client)
    return length
  }
  const whole =
    prompt.kind === 'plain' ? knownTokens(prompt, model.engine) : model.format.layout(prompt.messages, extrasOf(prompt))
  await fitFrames(attachments, () => lengthOf(whole), roomFor(settings, model.engine))
  const parts = prompt.kind === 'plain' ? whole : await shortened(prompt, whole, settings, model, lengthOf)
  return { parts, pieces: piecesOf(parts) }
}

/** Share of the context that stays free for an answer of unknown length. */
const answerShare = 1 / 4

const answerSpace = (maxTokens: number | null, contextTokens: number): number =>
  Math.min(maxTokens ?? contextTokens, Math.floor(contextTokens * answerShare))

/** Tokens that a prompt may have beside its answer. An answer that is not shortened needs all of its space. */
const roomFor = ({ maxTokens, overflow }: Settings, { model: { contextTokens } }: Engine): number =>
  contextTokens - (maxTokens !== null && overflow === 'error' ? maxTokens : answerSpace(maxTokens, contextTokens))

/** Takes fewer frames until the prompt fits, by a binary search for the most that do. */
async function fitFrames(attachments: PromptAttachments, length: () => Promise<number>, room: number): Promise<void> {
  const all = attachments.mostFrames
  if (all === 0 || (await length()) <= room) return
  let [low, high] = [1, all - 1]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    attachments.takeFrames(middle)
    if ((await length()) <= room) low = middle
    else high = middle - 1
  }
  attachments.takeFrames(low)
  attachments.letGoOfOthers()
}

const extrasOf = ({ tools, calling, variables, continues }: ChatPrompt) => ({
  tools: calling.mode === 'none' ? [] : tools,
  variables,
  continues,
})

/** @param whole the prompt with all turns */
async function shortened(
  chat: ChatPrompt,
  whole: readonly PlainPart[],
  { maxTokens }: Settings,
  { engine, format }: LayoutModel,
  tokensOf: (parts: readonly PlainPart[]) => Promise<number>,
): Promise<readonly PlainPart[]> {
  const { messages, longest } = chat
  if (longest === null) return whole
  const partsOf = (kept: readonly ChatMessage[]): PromptPart[] => format.layout(kept, extrasOf(chat))
  const { contextTokens } = engine.model
  const limit = longest === 'context' ? contextTokens - answerSpace(maxTokens, contextTokens) : longest
  if ((await tokensOf(whole)) <= limit) return whole

  // A binary search for the most turns that fit: a chat may have thousands of them.
  const starts = laterTurns(messages)
  const first = starts[0] ?? 0
  const from = (start: number) => partsOf([...messages.slice(0, first).filter(isSystem), ...messages.slice(start)])
  let best: PromptPart[] | undefined
  let [low, high] = [0, starts.length]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const parts = from(starts[middle] ?? 0)
    if ((await tokensOf(parts)) <= limit) [best, high] = [parts, middle]
    else low = middle + 1
  }
  if (best !== undefined) return best
  const last = from(starts.at(-1) ?? 0)
  const count = await tokensOf(last)
  // The answer is shorter than asked for.
  if (longest === 'context' && count < contextTokens) return last
  const code = longest === 'context' ? 'context_length_exceeded' : 'invalid_value'
  const allowed =
    longest === 'context' ? `the model's context holds ${contextTokens}` : `at most ${longest} are allowed`
  throw new OrielError('invalid', `The last message alone makes a prompt of ${count} tokens; ${allowed}.`, {
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
