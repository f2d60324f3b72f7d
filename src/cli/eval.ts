import { stat } from 'node:fs/promises'
import { OrielError } from '../errors.ts'
import { configOf } from '../load-config.ts'
import {
  type AskedModel,
  type Evaluated,
  eachLineIn,
  evaluate,
  exampleLimits,
  type ModelAnswer,
  Packer,
  type Score,
  scoreOf,
} from '../tuning/index.ts'
import { type AnswererFlags, chooseAnswerers } from './answerer.ts'
import { countedText, table } from './figures.ts'
import { interruption } from './interruption.ts'
import type { Answerer } from './question.ts'

interface EvalFlags extends Omit<AnswererFlags, 'model' | 'batch' | 'mmproj'> {
  model: string[]
  score?: string[]
  maxTokens?: number
  temperature?: number
  json?: boolean
}

/** Examples that are asked about at the same time: while some are answered, the pictures of others are encoded. */
const atOnce = 8
/** Examples that are shown of those on which models differ, and lines that are named of those that failed. */
const shown = 10
const usualTokens = 1024

/**
 * `oriel eval`: asks models the last question of each example of a dataset, and compares their answers with the wanted ones.
 * @throws OrielError with one sentence for the person
 */
export async function evaluateModels(file: string, { model: names, score, json, ...flags }: EvalFlags): Promise<void> {
  const scores = [...new Set(score ?? ['exact'])].map(scoreOf)
  const config = configOf({})
  if (!(await stat(file).catch(() => undefined))?.isFile())
    throw new OrielError('not_found', `There is no file ${file}.`, { code: 'file_not_found' })
  const judges = scores.flatMap((one) => (one.kind === 'judge' ? one.model : []))
  const all = [...new Set([...names, ...judges])]
  const signal = interruption()
  const answerers = await chooseAnswerers(flags, all, signal)
  const asked = new Map(all.map((name, index) => [name, askedModel(name, answerers[index], flags, signal)]))
  const find = (name: string): AskedModel => asked.get(name) ?? missing(name)
  const models = [...new Set(names)].map(find)
  const sums = new Sums(models, scores)
  const packer = new Packer(file, config)
  const counter = new Counter(process.stderr.isTTY === true && !json)
  try {
    const lines = eachLineIn(file, exampleLimits(config), (json) => packer.pack(json))
    for await (const one of evaluate(lines, { models, scores, judge: find, atOnce })) {
      sums.add(one)
      if (json) process.stdout.write(`${JSON.stringify(jsonOf(one, models, scores))}\n`)
      else counter.show(sums.examples)
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    counter.end()
    await packer.close()
    for (const answerer of answerers) await answerer.close()
  }
  process.stdout.write(json ? `${JSON.stringify({ summary: sums.summary() })}\n` : sums.text())
  if (sums.failed > 0)
    throw new OrielError('invalid', `${countedText(sums.failed, 'answer')} could not be had or compared.`, {
      code: 'some_failed',
    })
}

function missing(name: string): never {
  throw new Error(`no model ${name} was chosen`)
}

const askedModel = (
  name: string,
  answerer: Answerer | undefined,
  { maxTokens = usualTokens, temperature = 0 }: Pick<EvalFlags, 'maxTokens' | 'temperature'>,
  signal: AbortSignal,
): AskedModel => ({
  name,
  async ask(messages, schema) {
    if (answerer === undefined) return missing(name)
    return (await answerer.answer({ messages, schema, temperature, maxTokens, signal })).text
  },
})

const jsonOf = (one: Evaluated, models: readonly AskedModel[], scores: readonly Score[]) =>
  'error' in one
    ? { line: one.line, error: errorJson(one.error) }
    : {
        line: one.line,
        wanted: one.wanted,
        answers: one.answers.map((answer, index) => ({
          model: models[index]?.name,
          ...('error' in answer
            ? { error: errorJson(answer.error) }
            : {
                text: answer.text,
                right: Object.fromEntries(scores.map(({ name }, at) => [name, answer.right[at]])),
              }),
        })),
        differ: isSplit(one.answers),
      }

const errorJson = ({ message, code }: OrielError) => ({ message, code })

/** Whether one answer is right by a score and another is not. */
function isSplit(answers: readonly ModelAnswer[]): boolean {
  const [first, ...others] = answers.map((answer) => ('error' in answer ? 'error' : answer.right.join()))
  return others.some((other) => other !== first)
}

/** What is kept of all answers. */
class Sums {
  readonly #models: readonly { name: string; answered: number; failed: number; right: number[] }[]
  readonly #scores: readonly Score[]
  readonly #split: Extract<Evaluated, { wanted: string }>[] = []
  readonly #failures: string[] = []
  #splits = 0
  /** Lines that cannot be used. */
  #unusable = 0
  examples = 0

  constructor(models: readonly AskedModel[], scores: readonly Score[]) {
    this.#models = models.map(({ name }) => ({ name, answered: 0, failed: 0, right: scores.map(() => 0) }))
    this.#scores = scores
  }

  get failed(): number {
    return this.#unusable + this.#models.reduce((sum, { failed }) => sum + failed, 0)
  }

  add(one: Evaluated): void {
    this.examples++
    if ('error' in one) {
      this.#unusable++
      this.#fail(`line ${one.line}: ${one.error.message}`)
      return
    }
    for (const [index, model] of this.#models.entries()) {
      const answer = one.answers[index]
      if (answer === undefined || 'error' in answer) {
        model.failed++
        this.#fail(`line ${one.line}, ${model.name}: ${answer?.error.message}`)
      } else {
        model.answered++
        for (const [at, isRight] of answer.right.entries()) if (isRight) model.right[at] = (model.right[at] ?? 0) + 1
      }
    }
    if (!isSplit(one.answers)) return
    this.#splits++
    if (this.#split.length < shown) this.#split.push(one)
  }

  #fail(text: string): void {
    if (this.#failures.length < shown) this.#failures.push(text)
  }

  summary() {
    return {
      examples: this.examples,
      unusable: this.#unusable,
      differ: this.#splits,
      models: this.#models.map(({ name, answered, failed, right }) => ({
        ...{ model: name, answered, failed },
        right: Object.fromEntries(this.#scores.map((score, at) => [score.name, right[at] ?? 0])),
      })),
    }
  }

  text(): string {
    const head = ['MODEL', ...this.#scores.map(({ name }) => name), 'ANSWERS', 'FAILED']
    const rows = this.#models.map(({ name, answered, failed, right }) => [
      name,
      ...right.map((count) => (answered === 0 ? '' : `${((100 * count) / answered).toFixed(1)} %`)),
      ...[String(answered), String(failed)],
    ])
    return [
      `${countedText(this.examples, 'example')}\n\n${table([head, ...rows], 1)}`,
      this.#models.length > 1 ? this.#splitText() : '',
      this.#failures.length > 0 ? `\nFailed:\n${listText(this.#failures, this.failed)}` : '',
    ].join('')
  }

  #splitText(): string {
    if (this.#splits === 0) return '\nNo example is answered rightly by one and wrongly by another.\n'
    const width = Math.max(...this.#models.map(({ name }) => name.length))
    const blocks = this.#split.map(({ line, wanted, answers }) => {
      const said = answers.map((answer, index) => {
        const name = (this.#models[index]?.name ?? '').padEnd(width)
        if ('error' in answer) return `  ✗ ${name}  failed`
        return `  ${answer.right.map((isRight) => (isRight ? '✓' : '✗')).join('')} ${name}  ${quoted(answer.text)}`
      })
      return [`line ${line}, wanted ${quoted(wanted)}`, ...said].join('\n')
    })
    return `\n${countedText(this.#splits, 'example')} on which they differ:\n${listText(blocks, this.#splits)}`
  }
}

const listText = (parts: readonly string[], all: number): string =>
  `${parts.join('\n')}\n${all > parts.length ? `and ${all - parts.length} more. --json has all.\n` : ''}`

const longest = 160

/** In one line, and without control characters. */
const quoted = (text: string): string => JSON.stringify(text.length > longest ? `${text.slice(0, longest)}…` : text)

/** Tells a person how far it is. */
class Counter {
  readonly #moves: boolean
  #drawn = 0

  constructor(moves: boolean) {
    this.#moves = moves
  }

  show(examples: number): void {
    if (!this.#moves || performance.now() - this.#drawn < 100) return
    this.#drawn = performance.now()
    process.stderr.write(`\r${countedText(examples, 'example')}\u001b[K`)
  }

  end(): void {
    if (this.#drawn > 0) process.stderr.write('\r\u001b[K')
  }
}
