import type { AnswerEvent, Count, MediaTimings, ModelInfo, Tally } from '../../deployments/index.ts'
import { type AnswerRooms, type RunningAnswer, startAnswer, withBackend } from './answer.ts'
import type { AnswerRequest } from './request.ts'

/** A prompt that was counted and not answered. */
export type PromptCounts = (Count & { request: AnswerRequest; model: ModelInfo })[]

/** @throws OrielError */
export const countPrompts = (
  rooms: AnswerRooms,
  requests: readonly AnswerRequest[],
  signal: AbortSignal,
): Promise<PromptCounts> =>
  Promise.all(
    requests.map((request) => {
      const own = AbortSignal.any([signal])
      return withBackend(rooms, request, own, async (backend) => ({
        ...(await backend.count(request, own)),
        request,
        model: backend.info,
      }))
    }),
  )

/** Starts one answer for each prompt and joins them: the choices of the first prompt come first. */
export async function startAnswers(
  rooms: AnswerRooms,
  requests: readonly AnswerRequest[],
  signal: AbortSignal,
): Promise<RunningAnswer> {
  const [only, ...others] = requests
  if (only !== undefined && others.length === 0) return startAnswer(rooms, only, signal)
  const failed = new AbortController()
  // A signal stands for one prompt: it has the prompt's downloads, and few listeners.
  const own = () => AbortSignal.any([signal, failed.signal])
  try {
    return together(await Promise.all(requests.map((request) => startAnswer(rooms, request, own()))))
  } catch (error) {
    failed.abort()
    throw error
  }
}

function together(answers: readonly RunningAnswer[]): RunningAnswer {
  const [first] = answers
  if (first === undefined) throw new Error('a request without a prompt')
  const sum = (of: (answer: RunningAnswer) => number): number =>
    answers.reduce((total, answer) => total + of(answer), 0)
  return {
    ...first,
    choices: sum(({ choices }) => choices),
    usage: {
      promptTokens: sum(({ usage }) => usage.promptTokens),
      cachedTokens: sum(({ usage }) => usage.cachedTokens),
      imageTokens: answers.flatMap(({ usage }) => usage.imageTokens),
    },
    media: slowest(answers.map(({ media }) => media)),
    promptOf: (choice) => answers[Math.floor(choice / first.choices)]?.promptOf(0) ?? null,
    events: interleaved(answers.map((answer, index) => shifted(answer, index * first.choices))),
  }
}

async function* shifted({ events }: RunningAnswer, by: number): AsyncIterable<AnswerEvent> {
  for await (const event of events) yield event.type === 'done' ? event : { ...event, choice: event.choice + by }
}

/** Events of all answers as they come, with one tally at the end. */
async function* interleaved(streams: readonly AsyncIterable<AnswerEvent>[]): AsyncIterable<AnswerEvent> {
  const open = new Map(
    streams.map((stream, index) => {
      const iterator = stream[Symbol.asyncIterator]()
      const next = async () => ({ index, result: await iterator.next() })
      return [index, { next, coming: next() }]
    }),
  )
  try {
    const tallies: Tally[] = []
    while (open.size > 0) {
      const { index, result } = await Promise.race([...open.values()].map(({ coming }) => coming))
      const stream = open.get(index)
      if (result.done || stream === undefined) open.delete(index)
      else {
        stream.coming = stream.next()
        if (result.value.type === 'done') tallies.push(result.value.tally)
        else yield result.value
      }
    }
    const last = tallies.at(-1)
    if (last !== undefined) yield { type: 'done', tally: { ...last, ...totals(tallies) } }
  } finally {
    for (const { coming } of open.values()) coming.catch(() => {})
  }
}

const totals = (tallies: readonly Tally[]) => ({
  completionTokens: tallies.reduce((sum, tally) => sum + tally.completionTokens, 0),
  reasoningTokens: tallies.reduce((sum, tally) => sum + tally.reasoningTokens, 0),
})

const slowest = (all: readonly MediaTimings[]): MediaTimings => ({
  fetch: Math.max(...all.map(({ fetch }) => fetch)),
  decode: Math.max(...all.map(({ decode }) => decode)),
  media: Math.max(...all.map(({ media }) => media)),
})
