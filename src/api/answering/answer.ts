import { randomUUID } from 'node:crypto'
import type { Answer, Backend, Deployments, DescribedPrompt } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { AnswerRequest } from './request.ts'

/** What answering needs. */
export interface AnswerRooms {
  deployments: Deployments
  /** Removes all files that were kept of earlier fetches. */
  clearCache(): Promise<void>
}

/** An answer that has begun. Dialects give it their own shape. */
export interface RunningAnswer extends Omit<Answer, 'prompt'> {
  /** Without the prefix that each dialect has. */
  id: string
  /** Seconds since 1970. */
  created: number
  /** As the request names it. */
  model: string
  /** The model's own name. */
  servedBy: string
  choices: number
  /** The prompt of a choice, only where the request asks for it. */
  promptOf(choice: number): DescribedPrompt | null
}

/**
 * From a request to a running answer. Whatever is wrong with the request is thrown here, before the first byte of an
 * answer.
 * @throws OrielError
 */
export function startAnswer(rooms: AnswerRooms, request: AnswerRequest, signal: AbortSignal): Promise<RunningAnswer> {
  return withBackend(rooms, request, signal, async (backend) => {
    const { prompt, events, ...answer } = await backend.answer(request, signal)
    return {
      ...answer,
      events: eventsInWordsOf(request, events),
      id: randomUUID(),
      created: Math.floor(Date.now() / 1000),
      model: request.model,
      servedBy: backend.info.id,
      choices: request.settings.n,
      promptOf: () => prompt,
    }
  })
}

/** Finds the model, which stays loaded until the signal aborts. Errors are told in the words of the request. */
export async function withBackend<T>(
  { deployments }: AnswerRooms,
  request: AnswerRequest,
  signal: AbortSignal,
  work: (backend: Backend) => Promise<T>,
): Promise<T> {
  try {
    const backend = await deployments.find(request.model, signal, request)
    checkInputs(backend, request)
    return await work(backend)
  } catch (error) {
    throw inWordsOf(request, error)
  }
}

async function* eventsInWordsOf(request: AnswerRequest, events: Answer['events']): Answer['events'] {
  try {
    yield* events
  } catch (error) {
    throw inWordsOf(request, error)
  }
}

function checkInputs({ info }: Backend, { prompt, attachments }: AnswerRequest): void {
  const parts = prompt.kind === 'plain' ? prompt.parts : prompt.messages.flatMap(({ content }) => content)
  for (const part of parts) {
    if (part.kind === 'text' || part.kind === 'tokens' || info.inputs.includes(part.kind)) continue
    throw new OrielError('invalid', `The model ${info.id} does not accept ${nouns[part.kind]}.`, {
      param: attachments[part.attachment]?.param,
      code: `${part.kind}_not_supported`,
    })
  }
}

const nouns = { image: 'images', audio: 'audio', video: 'video' } as const

/** Backends name parts of an `Ask`; each dialect has names of its own for some of them. */
function inWordsOf({ params }: AnswerRequest, error: unknown): unknown {
  if (!(error instanceof OrielError)) return error
  const [first = '', ...rest] = (error.param ?? '').split('.')
  const word = { ...params, logitBias: 'logit_bias' }[first]
  return word === undefined ? error : error.at([word, ...rest].join('.'))
}
