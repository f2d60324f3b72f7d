import { z } from 'zod'
import type { AnswerEnd, AnswerToken, Tally } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { argumentsOf, collect, newCallId } from '../answering/collect.ts'
import { grounding, groundingOf } from '../shapes/grounding.ts'
import { included } from '../shapes/included.ts'
import { chancesOf } from '../shapes/logprobs.ts'
import { includedOf } from '../shapes/usage.ts'
import type { GenerateRequest } from './schema.ts'

const chance = { token: z.string(), logprob: z.number(), bytes: z.array(z.int()) }

/** What the two kinds of answers have in common. The last line of a stream has what a whole answer has. */
const shared = {
  model: z.string(),
  created_at: z.iso.datetime(),
  done: z.boolean(),
  done_reason: z.enum(['stop', 'length', 'load', 'unload']).optional(),
  total_duration: z.int().optional().describe('Of the whole request. This and the other durations are in nanoseconds.'),
  load_duration: z.int().optional().describe('Until the model was loaded.'),
  prompt_eval_count: z.int().optional().describe('Tokens of the prompt.'),
  prompt_eval_duration: z.int().optional().describe('From the admission of the request to its first token.'),
  eval_count: z.int().optional().describe('Tokens of the answer.'),
  eval_duration: z.int().optional(),
  logprobs: z.array(z.strictObject({ ...chance, top_logprobs: z.array(z.strictObject(chance)).optional() })).optional(),
  ...grounding,
  ...included,
}

const call = z.strictObject({
  id: z.string(),
  function: z.strictObject({ index: z.int(), name: z.string(), arguments: z.record(z.string(), z.unknown()) }),
})

/** A whole answer, or one line of a stream. */
export const chatAnswer = z.strictObject({
  ...shared,
  message: z.strictObject({
    role: z.literal('assistant'),
    content: z.string(),
    thinking: z.string().optional(),
    tool_calls: z.array(call).optional(),
  }),
})

/** A whole answer, or one line of a stream. */
export const generateAnswer = z.strictObject({ ...shared, response: z.string(), thinking: z.string().optional() })

type ChatAnswer = z.output<typeof chatAnswer>
type GenerateAnswer = z.output<typeof generateAnswer>
type Shared = Omit<GenerateAnswer, 'response' | 'thinking'>
type Call = z.output<typeof call>

/** New text of an answer, or all of it. */
interface Said {
  text: string
  reasoning: string
  calls: readonly Call[]
}

/** Writes what was said into the fields of its kind of answer. */
type Shape<Answer> = (said: Said, rest: Shared) => Answer

export const asChat: Shape<ChatAnswer> = ({ text, reasoning, calls }, { model, created_at, ...rest }) => ({
  model,
  created_at,
  message: {
    role: 'assistant',
    content: text,
    ...(reasoning === '' ? {} : { thinking: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: [...calls] }),
  },
  ...rest,
})

export const asGenerate: Shape<GenerateAnswer> = ({ text, reasoning }, { model, created_at, ...rest }) => ({
  model,
  created_at,
  response: text,
  ...(reasoning === '' ? {} : { thinking: reasoning }),
  ...rest,
})

const nothing: Said = { text: '', reasoning: '', calls: [] }

type Body = Pick<GenerateRequest, 'model'> & Partial<Pick<GenerateRequest, 'logprobs' | 'usage'>>

export const whole =
  <Answer>(shape: Shape<Answer>) =>
  async (answer: RunningAnswer, body: Body) => {
    const { choices, tally } = await collect(answer)
    const [choice] = choices
    if (choice === undefined) throw new Error('an answer without a choice')
    const calls = choice.calls.flatMap(({ name, arguments: text }, index) => callsOf(index, name, text))
    const rest = { ...lastOf(answer, body, choice, tally), ...logprobsOf(body, choice.tokens) }
    return { body: shape({ ...choice, calls }, { ...beginningOf(body), ...rest }), timings: tally.timings }
  }

/** An answer line by line. A call is sent when it is complete, because its arguments are an object. */
export const lines = <Answer>(shape: Shape<Answer>) =>
  async function* (answer: RunningAnswer, body: Body): AsyncIterable<Answer> {
    let open: { name: string; text: string } | undefined
    let calls = 0
    let end: Pick<AnswerEnd, 'reason' | 'grounding'> = { reason: 'stop' }
    const closed = (): Call[] => {
      if (open === undefined) return []
      const { name, text } = open
      open = undefined
      return callsOf(calls++, name, text)
    }
    const line = (said: Said, rest: Omit<Shared, 'model' | 'created_at'>): Answer =>
      shape(said, { ...beginningOf(body), ...rest })
    for await (const event of answer.events) {
      if (event.type === 'done') yield line(nothing, lastOf(answer, body, end, event.tally))
      else if (event.type === 'end') {
        end = event
        const last = closed()
        if (last.length > 0) yield line({ ...nothing, calls: last }, { done: false })
      } else {
        const said = { text: '', reasoning: '', calls: [] as Call[] }
        for (const piece of event.pieces) {
          if (piece.kind === 'text') said.text += piece.text
          else if (piece.kind === 'reasoning') said.reasoning += piece.text
          else if (piece.kind === 'arguments') open = { name: open?.name ?? '', text: (open?.text ?? '') + piece.text }
          else {
            said.calls.push(...closed())
            open = { name: piece.name, text: '' }
          }
        }
        const chances = logprobsOf(body, event.tokens)
        if (said.text !== '' || said.reasoning !== '' || said.calls.length > 0 || 'logprobs' in chances)
          yield line(said, { done: false, ...chances })
      }
    }
  }

/** What a request gets that only loads or unloads a model. */
export const withoutAnswer = <Answer>(shape: Shape<Answer>, { model }: Body, reason: 'load' | 'unload'): Answer =>
  shape(nothing, { ...beginningOf({ model }), done: true, done_reason: reason })

const beginningOf = ({ model }: Body) => ({ model, created_at: new Date().toISOString() })

function lastOf(answer: RunningAnswer, body: Body, end: Pick<AnswerEnd, 'reason' | 'grounding'>, tally: Tally) {
  const { began, loadMs, usage } = answer
  const { completionTokens, timings } = tally
  return {
    done: true,
    done_reason: end.reason === 'length' ? ('length' as const) : ('stop' as const),
    total_duration: nanoseconds(performance.now() - began),
    load_duration: nanoseconds(loadMs),
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: nanoseconds(timings.prefill),
    eval_count: completionTokens,
    eval_duration: nanoseconds(timings.generation),
    ...groundingOf(end),
    ...includedOf(body, answer, tally),
  }
}

export const nanoseconds = (ms: number): number => Math.round(ms * 1e6)

/**
 * A call, or none if it was cut off: there is no form for a part of its arguments, and with an empty object in their place
 * a client would run the tool without them.
 */
function callsOf(index: number, name: string, text: string): Call[] {
  const given = argumentsOf(text)
  return given === null ? [] : [{ id: newCallId(), function: { index, name, arguments: given } }]
}

function logprobsOf({ logprobs }: Body, tokens: readonly AnswerToken[]): Pick<Shared, 'logprobs'> {
  if (!logprobs || tokens.length === 0) return {}
  const found = chancesOf(tokens).map(({ token_id: _, top_logprobs: top, ...token }) => ({
    ...token,
    ...(top.length === 0 ? {} : { top_logprobs: top.map(({ token_id: __, ...other }) => other) }),
  }))
  return { logprobs: found }
}
