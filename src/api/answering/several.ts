import type { PromptCount } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type AnswerEvent, inPlace, type RunningAnswer, startAnswer } from './answer.ts'
import { type AnswerRooms, type MediaTimings, type PreparedPrompt, preparePrompt } from './prepare.ts'
import type { AnswerRequest } from './request.ts'

/** A prompt that was laid out and counted, and not answered. */
export type PromptCounts = (PreparedPrompt & PromptCount & { request: AnswerRequest })[]

/** @throws OrielError */
export function countPrompts(
  rooms: AnswerRooms,
  requests: readonly AnswerRequest[],
  signal: AbortSignal,
): Promise<PromptCounts> {
  return Promise.all(
    requests.map(async (request) => {
      try {
        const prepared = await preparePrompt(rooms, request, signal)
        return { request, ...prepared, ...(await prepared.backend.count(prepared.pieces)) }
      } catch (error) {
        throw error instanceof OrielError ? inPlace(error, request) : error
      }
    }),
  )
}

/** Starts one answer for each prompt; together they are one, whose choices are those of the first prompt first. */
export async function startAnswers(
  rooms: AnswerRooms,
  requests: readonly AnswerRequest[],
  signal: AbortSignal,
): Promise<RunningAnswer> {
  const [only, ...others] = requests
  if (only !== undefined && others.length === 0) return startAnswer(rooms, only, signal)
  const failed = new AbortController()
  const both = AbortSignal.any([signal, failed.signal])
  try {
    return together(await Promise.all(requests.map((request) => startAnswer(rooms, request, both))))
  } catch (error) {
    failed.abort()
    throw error
  }
}

function together(answers: readonly RunningAnswer[]): RunningAnswer {
  const [first] = answers
  if (first === undefined) throw new Error('there is nothing to answer')
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

/** Events of all as they come. Of their ends only the last is told. */
async function* interleaved(streams: readonly AsyncIterable<AnswerEvent>[]): AsyncIterable<AnswerEvent> {
  const open = new Map(
    streams.map((stream, index) => {
      const iterator = stream[Symbol.asyncIterator]()
      const next = async () => ({ index, result: await iterator.next() })
      return [index, { next, coming: next() }]
    }),
  )
  try {
    let last: AnswerEvent | undefined
    while (open.size > 0) {
      const { index, result } = await Promise.race([...open.values()].map(({ coming }) => coming))
      const stream = open.get(index)
      if (result.done || stream === undefined) open.delete(index)
      else {
        stream.coming = stream.next()
        if (result.value.type === 'done') last = result.value
        else yield result.value
      }
    }
    if (last !== undefined) yield last
  } finally {
    for (const { coming } of open.values()) coming.catch(() => {})
  }
}

const slowest = (all: readonly MediaTimings[]): MediaTimings => ({
  fetch: Math.max(...all.map(({ fetch }) => fetch)),
  decode: Math.max(...all.map(({ decode }) => decode)),
  media: Math.max(...all.map(({ media }) => media)),
})
