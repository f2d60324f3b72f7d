import type { Engine, PromptPiece } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { Loaded } from '../../media/index.ts'
import type { ChatFormat, ChatMessage, PromptPart } from '../../prompt/index.ts'
import type { Ask, ChatPrompt, PlainPart, PlainPrompt, Settings } from '../ask.ts'
import { checkToken } from './generation.ts'
import { imagePiece } from './images.ts'

export interface LaidOut {
  parts: readonly PlainPart[]
  pieces: readonly PromptPiece[]
}

export interface LayoutModel {
  engine: Engine
  format: ChatFormat
}

/**
 * Lays a prompt out in the model's format, with the oldest turns dropped as the request wants it.
 * @param loaded the attachments of the request, in their order
 * @throws OrielError `invalid`
 */
export async function layOut(
  { prompt, attachments, settings, client }: Ask,
  loaded: readonly Loaded[],
  model: LayoutModel,
): Promise<LaidOut> {
  const piecesOf = (parts: readonly PlainPart[]): PromptPiece[] =>
    parts.flatMap((part): PromptPiece[] => {
      if (part.kind === 'text' || part.kind === 'tokens') return [part]
      const source = loaded[part.attachment]
      if (source === undefined) throw new Error('the layout names an attachment that does not exist')
      const reading = attachments[part.attachment] ?? { detail: 'auto' }
      return source.images.map((image) => imagePiece(image, reading))
    })
  const parts =
    prompt.kind === 'plain'
      ? knownTokens(prompt, model.engine)
      : await layOutChat(prompt, settings, model, piecesOf, client)
  return { parts, pieces: piecesOf(parts) }
}

/** Share of the context that stays free for an answer of unknown length. */
const answerShare = 1 / 4

async function layOutChat(
  { messages, tools, calling, variables, continues, longest }: ChatPrompt,
  { maxTokens }: Settings,
  { engine, format }: LayoutModel,
  piecesOf: (parts: readonly PromptPart[]) => PromptPiece[],
  client: string,
): Promise<PromptPart[]> {
  const extras = { tools: calling.mode === 'none' ? [] : tools, variables, continues }
  const partsOf = (kept: readonly ChatMessage[]): PromptPart[] => format.layout(kept, extras)
  const whole = partsOf(messages)
  if (longest === null) return whole
  const { contextTokens } = engine.model
  const answer = Math.min(maxTokens ?? contextTokens, Math.floor(contextTokens * answerShare))
  const limit = longest === 'context' ? contextTokens - answer : longest
  const tokensOf = async (parts: readonly PromptPart[]): Promise<number> => {
    const [length = 0] = await engine.lengths([piecesOf(parts)], client)
    return length
  }
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
