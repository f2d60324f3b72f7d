import { OrielError } from '../../errors.ts'
import type { NumberedExample } from '../datasets/check.ts'
import type { Example, ExampleMessage } from '../datasets/example.ts'
import { checkWanted, isRight, isSame, judgement, type Score, verdictIn, verdictSchema } from './scores.ts'

/** A message as models are asked with it. Pictures are data URLs. */
export interface AskedMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: readonly ({ readonly type: 'text'; readonly text: string } | { type: 'image'; image: string })[]
}

/** A model that can be asked, wherever it is. */
export interface AskedModel {
  readonly name: string
  /** @param schema a JSON Schema that the answer must match @throws OrielError why there is no answer */
  ask(messages: readonly AskedMessage[], schema?: object): Promise<string>
}

export interface Evaluation {
  readonly models: readonly AskedModel[]
  readonly scores: readonly Score[]
  /** For a score of the kind `judge`. */
  judge(name: string): AskedModel
  /** Examples that are asked about at the same time. */
  readonly atOnce: number
}

/** A line of a dataset, or why it cannot be used. */
export type EvaluatedLine = NumberedExample | { readonly line: number; readonly error: OrielError }

/** What models said to one example. */
export type Evaluated =
  | { readonly line: number; readonly wanted: string; readonly answers: readonly ModelAnswer[] }
  | { readonly line: number; readonly error: OrielError }

export type ModelAnswer =
  /** `right`: by each score. */
  { readonly text: string; readonly right: readonly boolean[] } | { readonly error: OrielError }

/**
 * Asks models the last question of each example and compares what they say with its last answer. Some examples are asked about
 * at the same time, and what comes of them is given in their order.
 */
export async function* evaluate(
  lines: AsyncIterable<EvaluatedLine>,
  evaluation: Evaluation,
): AsyncGenerator<Evaluated> {
  const running: Promise<Evaluated>[] = []
  for await (const line of lines) {
    const one = 'error' in line ? Promise.resolve(line) : evaluated(line, evaluation)
    // It is reported when its turn comes.
    one.catch(() => {})
    running.push(one)
    if (running.length < evaluation.atOnce) continue
    const first = await running.shift()
    if (first !== undefined) yield first
  }
  for (const one of running) yield await one
}

async function evaluated({ line, example }: NumberedExample, evaluation: Evaluation): Promise<Evaluated> {
  try {
    const { messages, wanted } = questionOf(example)
    for (const score of evaluation.scores) checkWanted(score, wanted)
    const answers = await Promise.all(
      evaluation.models.map(async (model): Promise<ModelAnswer> => {
        try {
          const text = (await model.ask(messages)).trim()
          return { text, right: await rightness(text, wanted, questionText(messages), evaluation) }
        } catch (error) {
          return { error: known(error) }
        }
      }),
    )
    return { line, wanted, answers }
  } catch (error) {
    return { line, error: known(error) }
  }
}

const rightness = (
  answer: string,
  wanted: string,
  question: string,
  { scores, judge }: Evaluation,
): Promise<boolean[]> =>
  Promise.all(
    scores.map(async (score) => {
      if (score.kind !== 'judge') return isRight(score, answer, wanted)
      // Nothing is left to judge.
      if (isSame(answer, wanted)) return true
      const content = [{ type: 'text', text: judgement(question, answer, wanted) } as const]
      return verdictIn(await judge(score.model).ask([{ role: 'user', content }], verdictSchema))
    }),
  )

/** @throws the error if it is of no kind that is for a person */
function known(error: unknown): OrielError {
  if (error instanceof OrielError && error.kind !== 'cancelled') return error
  throw error
}

/** The turns before the last answer, and that answer. @throws OrielError `invalid` */
function questionOf({ messages, tools }: Example): { messages: AskedMessage[]; wanted: string } {
  const hasCalls = messages.some((message) => message.role === 'tool' || message.tool_calls !== undefined)
  if (tools !== undefined || hasCalls)
    throw new OrielError('invalid', 'It has tools; only answers in words are compared.', { code: 'has_tools' })
  return { messages: messages.slice(0, -1).map(asked), wanted: textOf(messages.at(-1)?.content ?? []).trim() }
}

const asked = ({ role, content }: ExampleMessage): AskedMessage => ({
  role: role === 'tool' ? 'user' : role,
  content: content.map((part) =>
    part.type === 'text'
      ? part
      : { type: 'image', image: `data:image/${part.image.format};base64,${part.image.bytes.toString('base64')}` },
  ),
})

const questionText = (messages: readonly AskedMessage[]): string => textOf(messages.at(-1)?.content ?? [])

const textOf = (content: readonly ({ readonly type: 'text'; readonly text: string } | { type: 'image' })[]): string =>
  content.map((part) => (part.type === 'text' ? part.text : '')).join('')
