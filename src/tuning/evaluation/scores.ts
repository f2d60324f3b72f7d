import { isDeepStrictEqual } from 'node:util'
import { OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'

/** How answers are compared with the wanted ones. */
export type Score =
  | { readonly kind: 'exact'; readonly name: string }
  | { readonly kind: 'contains'; readonly name: string }
  | { readonly kind: 'field'; readonly name: string; readonly path: readonly string[] }
  | { readonly kind: 'judge'; readonly name: string; readonly model: string }

/**
 * Reads `exact`, `contains`, `json-field:NAME` or `judge:MODEL`.
 * @throws OrielError `invalid` for another word
 */
export function scoreOf(name: string): Score {
  if (name === 'exact' || name === 'contains') return { kind: name, name }
  const at = name.indexOf(':')
  const [kind, value] = [name.slice(0, at), name.slice(at + 1)]
  if (kind === 'json-field' && value !== '') return { kind: 'field', name, path: value.split('.') }
  if (kind === 'judge' && value !== '') return { kind: 'judge', name, model: value }
  throw new OrielError(
    'invalid',
    `${JSON.stringify(name)} is no score. There are exact, contains, json-field:NAME and judge:MODEL.`,
    { code: 'invalid_value' },
  )
}

/** @throws OrielError `invalid` if this score cannot compare with the wanted answer */
export function checkWanted(score: Score, wanted: string): void {
  if (score.kind !== 'field' || fieldOf(jsonIn(wanted), score.path) !== undefined) return
  throw new OrielError('invalid', `The wanted answer is not JSON with the field ${score.path.join('.')}.`, {
    code: 'no_field',
  })
}

/** Whether an answer is right. @param wanted passes `checkWanted` */
export function isRight(score: Exclude<Score, { kind: 'judge' }>, answer: string, wanted: string): boolean {
  if (score.kind === 'exact') return isSame(answer, wanted)
  if (score.kind === 'contains') return plain(answer).toLowerCase().includes(plain(wanted).toLowerCase())
  return isDeepStrictEqual(fieldOf(jsonIn(answer), score.path), fieldOf(jsonIn(wanted), score.path))
}

/** Whether two answers differ in nothing but spaces. */
export const isSame = (answer: string, wanted: string): boolean => plain(answer) === plain(wanted)

const plain = (text: string): string => text.normalize('NFC').replace(/\s+/g, ' ').trim()

/** Models like to put JSON into a block of Markdown. */
function jsonIn(text: string): unknown {
  const [, block] = /^\s*```(?:json)?\s*\n(.*?)\n\s*```\s*$/s.exec(text) ?? []
  return parseJson(block ?? text)
}

/** @param path names of fields, or indices of lists */
function fieldOf(value: unknown, [name, ...rest]: readonly string[]): unknown {
  if (name === undefined) return value
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return fieldOf((value as Readonly<Record<string, unknown>>)[name], rest)
}

/** The answer of a judge. */
export const verdictSchema = {
  type: 'object',
  properties: { correct: { type: 'boolean' } },
  required: ['correct'],
  additionalProperties: false,
} as const

/** What a judge is asked. It sees no picture: the wanted answer says what is true. */
export const judgement = (question: string, answer: string, wanted: string): string =>
  `Here are a question, the right answer to it, and an answer to check.

Question: ${question}

Right answer: ${wanted}

Answer to check: ${answer}

Does the answer to check say the same as the right one? Other words are allowed, other facts are not. Reply with JSON: {"correct": true} or {"correct": false}.`

/** @throws OrielError `invalid` if the judge has not kept to the form */
export function verdictIn(text: string): boolean {
  const correct = fieldOf(jsonIn(text), ['correct'])
  if (typeof correct === 'boolean') return correct
  throw new OrielError('invalid', 'The judge did not answer with {"correct": true} or {"correct": false}.', {
    code: 'no_verdict',
  })
}
