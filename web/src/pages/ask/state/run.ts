import { events, ServerError } from '../../../server/client.ts'
import { announce } from '../../../ui/announce.tsx'
import {
  type Answer,
  type Call,
  changeAnswer,
  changeColumn,
  isRunning,
  keyOf,
  newId,
  pathOf,
  type Question,
  type Turn,
  withTurn,
} from './conversation.ts'
import { conversations, current, path, update, updateCurrent } from './conversations.ts'
import { figuresOf, type Usage } from './figures.ts'
import { dataUrlOf } from './files.ts'
import { fitPictures } from './fit.ts'
import { type Grounding, marksOf } from './marks.ts'
import { modelOf } from './models.ts'
import { requestOf } from './request.ts'
import { begin, end } from './running.ts'

/** Asks after everything that is shown. */
export function ask(question: Question): void {
  const last = path.value.at(-1)
  askAfter(last === undefined ? '' : keyOf(last), question)
}

/** Asks in place of an earlier question, which stays beside it. */
export const askInstead = ({ after }: Turn, question: Question): void => askAfter(after, question)

function askAfter(after: string, question: Question): void {
  const { id, models } = current.value
  const columns = models.map((model) => ({ answers: [unanswered(model)], shown: 0 }))
  const turn: Turn = { id: newId(), after, question, columns }
  updateCurrent((conversation) => withTurn(conversation, turn))
  for (const [column, { answers }] of columns.entries())
    for (const answer of answers) void run({ conversation: id, turn: turn.id, column, answer })
}

/** Answers once more, with the model that the column has now. The earlier answers stay beside it. */
export function retry(turn: Turn, column: number): void {
  const { id, models } = current.value
  const answer = unanswered(models[column] ?? models[0] ?? '')
  updateCurrent((conversation) =>
    changeColumn(conversation, turn.id, column, ({ answers }) => ({
      answers: [...answers, answer],
      shown: answers.length,
    })),
  )
  void run({ conversation: id, turn: turn.id, column, answer })
}

const unanswered = (model: string): Answer => ({
  ...{ id: newId(), model, state: 'waiting', thought: '', text: '', calls: [], error: '', cut: false, figures: null },
})

interface Chunk {
  choices?: (Grounding & {
    delta: { content?: string; reasoning_content?: string; tool_calls?: CallDelta[] }
    finish_reason: string | null
  })[]
  usage?: Usage | null
  perf_metrics?: Record<string, string>
  error?: { message?: string }
}

interface CallDelta {
  index: number
  id?: string
  function: { name?: string; arguments: string }
}

interface Run {
  readonly conversation: string
  readonly turn: string
  readonly column: number
  readonly answer: Answer
}

async function run({ conversation, turn, column, answer }: Run): Promise<void> {
  const stopped = begin(answer)
  let state = answer
  // What has arrived is shown once for each frame of the screen, however fast it comes.
  let frame = 0
  const show = (): void => {
    cancelAnimationFrame(frame)
    frame = 0
    update(
      conversation,
      (before) => changeAnswer(before, turn, answer.id, () => state),
      isRunning(state) ? 'soon' : 'now',
    )
  }
  const showSoon = (): void => {
    // A page in the background has no frames.
    if (document.hidden) show()
    else if (frame === 0) frame = requestAnimationFrame(show)
  }
  try {
    await fitPictures({ conversation, turn, column })
    const { body, firstPart } = await bodyFor({ conversation, turn, column, answer })
    // A model that has no known form of them refuses it.
    const boxes = modelOf(answer.model)?.features?.includes('grounding') ? { return_boxes: true } : {}
    const options = { stream: true, usage: { include: true }, perf_metrics_in_response: true, ...boxes }
    const request = { method: 'POST', body: { ...body, ...options }, signal: stopped } as const
    for await (const chunk of events<Chunk>('/v1/chat/completions', request)) {
      if (chunk.error !== undefined) throw new ServerError(chunk.error.message ?? 'The answer broke off.', 0)
      state = withChunk(state, chunk)
      if (chunk.usage) {
        const figures = figuresOf(chunk.usage, chunk.perf_metrics, body, firstPart)
        state = { ...state, figures, marks: marksOf(chunk.choices?.[0] ?? {}, chunk.usage.pictures ?? []) }
      }
      showSoon()
    }
    state = { ...state, state: 'done' }
    announce(state.calls.length > 0 ? `A call of ${state.calls[0]?.name}.` : state.text)
  } catch (error) {
    const status = error instanceof ServerError ? error.status : 0
    const failed: Answer = { ...state, state: 'failed', error: reasonOf(error), status }
    state = stopped.aborted ? { ...state, state: 'stopped' } : failed
    announce(state.state === 'stopped' ? 'Stopped.' : `No answer: ${state.error}`)
  }
  show()
  end(answer)
}

async function bodyFor({ conversation: id, turn: turnId, column, answer }: Run) {
  const conversation = conversations.value.find((one) => one.id === id)
  const turns = conversation === undefined ? [] : pathOf(conversation)
  const at = turns.findIndex((turn) => turn.id === turnId)
  const turn = turns[at]
  if (conversation === undefined || turn === undefined) throw new Error('The question is not there any more.')
  const { question } = turn
  return requestOf({
    conversation,
    before: turns.slice(0, at),
    question,
    column,
    model: answer.model,
    urlOf: dataUrlOf,
  })
}

function withChunk(answer: Answer, { choices }: Chunk): Answer {
  const choice = choices?.[0]
  if (choice === undefined) return answer
  const { content = '', reasoning_content = '', tool_calls = [] } = choice.delta
  return {
    ...answer,
    state: 'streaming',
    text: answer.text + content,
    thought: answer.thought + reasoning_content,
    calls: tool_calls.reduce(withCall, answer.calls),
    cut: choice.finish_reason === 'length',
    withheld: choice.finish_reason === 'content_filter',
  }
}

function withCall(calls: readonly Call[], { index, id, function: called }: CallDelta): readonly Call[] {
  const before = calls[index] ?? { id: id ?? newId(), name: '', arguments: '' }
  const after = {
    id: id ?? before.id,
    name: before.name + (called.name ?? ''),
    arguments: before.arguments + called.arguments,
  }
  return [...calls.slice(0, index), after, ...calls.slice(index + 1)]
}

const reasonOf = (error: unknown): string => {
  if (error instanceof ServerError) return error.message
  // What breaks off in the middle has other words in every browser.
  if (error instanceof TypeError) return 'The connection to the server broke off.'
  return error instanceof Error ? error.message : String(error)
}
