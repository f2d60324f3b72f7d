import type { Reader, ReadPrompt } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { beginsThought, thoughtEnd, thoughtTags } from '../../prompt/index.ts'
import type { Example } from './example.ts'

/** What is learned of an example at once: a prompt with answers in it. */
export interface LearnedPrompt {
  readonly prompt: ReadPrompt
  /** Cells of the prompt that are used: behind the last that is learned, nothing matters. */
  readonly cells: number
  /** The stretches of cells that are learned. */
  readonly stretches: readonly (readonly [start: number, end: number])[]
}

export interface Learned {
  readonly sequences: readonly LearnedPrompt[]
  /** Whether some of the example lies beyond `most` cells. */
  readonly truncated: boolean
}

const [thoughtStart = ''] = thoughtTags

type Parts = Awaited<ReturnType<Reader['layOut']>>
type Images = Awaited<ReturnType<Reader['load']>>

/**
 * Finds the cells of an example that are learned. An answer is learned behind the very prompt that the model gets when it is to
 * give that answer, and up to the token that ends the turn. Answers that follow each other are one sequence. One whose prompt
 * does not begin with the sequence of those before is a sequence of its own: some templates leave former thoughts out.
 * @param most cells of a sequence
 * @throws OrielError `invalid` if the model's template does not take the chat
 */
export async function learnedOf(
  { messages, tools, answers }: Example,
  images: Images,
  reader: Reader,
  most: number,
): Promise<Learned> {
  const read = (parts: Parts) => reader.read(parts, images, most)
  const sequences: LearnedPrompt[] = []
  let truncated = false
  for (const turn of answers) {
    const asked = await reader.layOut(messages.slice(0, turn), { tools })
    const before = await read(asked)
    if (before.cut || before.tokens.length >= most) {
      truncated = true
      break
    }
    const told = await reader.layOut(messages.slice(0, turn + 1), { tools, isOver: true })
    const prompt = await withAnswer({ asked, told, before, param: `messages[${turn}]` }, read, reader)
    truncated ||= prompt.cut
    const start = before.tokens.length
    const end = lastEnd(prompt, start, reader.model.endTokens) ?? prompt.tokens.length
    const last = sequences.at(-1)
    const goesOn = last !== undefined && last.cells <= start && startsWith(before, last.prompt, last.cells)
    const stretches = [...(goesOn ? last.stretches : []), [start, end] as const]
    if (goesOn) sequences.pop()
    sequences.push({ prompt, cells: end, stretches })
  }
  return { sequences: sequences.filter(({ stretches }) => stretches.some(([start, end]) => end > start)), truncated }
}

interface Told {
  /** The prompt of the answer, and what the template writes when the answer is there. */
  readonly asked: Parts
  readonly told: Parts
  readonly before: ReadPrompt
  /** Of the answer, for errors. */
  readonly param: string
}

/** A prompt and its answer, whose first cells are those of the prompt. */
async function withAnswer(
  { asked, told, before, param }: Told,
  read: (parts: Parts) => Promise<ReadPrompt>,
  reader: Reader,
) {
  const { endTokens, eosToken } = reader.model
  const start = before.tokens.length
  const whole = await read(told)
  const isWhole = startsWith(whole, before, start)
  // Otherwise the answer is tokenized by itself, as the model writes it.
  const parts = isWhole ? told : [...asked, { kind: 'tokens', tokens: [] } as const, ...answerIn(asked, told, param)]
  const prompt = isWhole ? whole : await read(parts)
  if (prompt.cut || lastEnd(prompt, start, endTokens) !== undefined) return prompt
  return read([...parts, { kind: 'text', text: eosToken, special: true }])
}

/** @throws OrielError `invalid` if the template writes what is before the answer in another way when the answer is there */
function answerIn(asked: Parts, told: Parts, param: string): Parts {
  const answer = behind(told, asked)
  if (answer !== undefined) return answer
  const last = asked.at(-1)
  if (last?.kind === 'text' && beginsThought(last.text)) {
    const text = last.text.slice(0, last.text.lastIndexOf(thoughtStart))
    const said = behind(told, [...asked.slice(0, -1), { ...last, text }])
    // The thought that the prompt begins is over at once.
    if (said !== undefined && !said.some((part) => part.kind === 'text' && part.text.includes(thoughtEnd)))
      return [{ kind: 'text', text: `${thoughtEnd}\n\n`, special: true }, ...said]
  }
  const message = "The model's chat template writes what is before the answer in another way when the answer is there."
  throw new OrielError('invalid', message, { param })
}

/** What follows `first` in `parts`; undefined if they do not begin with it. */
function behind(parts: Parts, first: Parts): Parts | undefined {
  for (const [index, part] of first.entries()) {
    const other = parts[index]
    if (part.kind !== 'text' || other?.kind !== 'text') {
      if (part.kind === 'text' || part.kind !== other?.kind) return undefined
      continue
    }
    if (part.special !== other.special || !other.text.startsWith(part.text)) return undefined
    const isLast = index === first.length - 1
    if (isLast) return [{ ...other, text: other.text.slice(part.text.length) }, ...parts.slice(index + 1)]
    if (part.text !== other.text) return undefined
  }
  return parts.slice(first.length)
}

/** The cell behind the last token that ends a turn; undefined if there is none from `start` on. */
function lastEnd({ tokens }: ReadPrompt, start: number, endTokens: readonly number[]): number | undefined {
  for (let at = tokens.length - 1; at >= start; at--) if (endTokens.includes(tokens[at] ?? -1)) return at + 1
  return undefined
}

/** Whether a prompt begins with the first `cells` of another one of the same example. */
function startsWith({ tokens }: ReadPrompt, other: ReadPrompt, cells: number): boolean {
  if (tokens.length < cells) return false
  for (let at = 0; at < cells; at++) if (tokens[at] !== other.tokens[at]) return false
  return true
}
