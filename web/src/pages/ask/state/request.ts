import {
  answerIn,
  type Conversation,
  callsOf,
  isRefused,
  type Picture,
  type Question,
  type Turn,
} from './conversation.ts'
import { inputOf, isDocument } from './files.ts'
import { bodyOf, settingsProblem } from './parameters.ts'

type Part = Record<string, unknown>
interface Message {
  role: string
  content: string | Part[] | null
  tool_calls?: unknown[]
  tool_call_id?: string
}

/** A request to `/v1/chat/completions`. */
export interface ChatRequest {
  readonly model: string
  readonly messages: readonly Message[]
  readonly [parameter: string]: unknown
}

interface What {
  readonly conversation: Conversation
  /** The turns before the question that are shown. */
  readonly before: readonly Turn[]
  readonly question: Question
  /** Whose answers the model takes for its own. */
  readonly column: number
  readonly model: string
  /** A URL that has the bytes of a file. */
  readonly urlOf: (picture: Picture) => Promise<string>
}

/**
 * @returns the request, and the index of the first picture of the question among the parts of the last message. A turn
 * that has no answer, as when the server was away, becomes part of the question after it. One that the server refused is
 * left out: with it the next one would be refused, too.
 * @throws Error if the settings have a problem, or a file is not there any more
 */
export async function requestOf(what: What): Promise<{ body: ChatRequest; firstPart: number }> {
  const { conversation, before, question, column, model, urlOf } = what
  const { settings } = conversation
  const problem = settingsProblem(settings)
  if (problem !== undefined) throw new Error(`Settings: ${problem}`)
  const messages: Message[] = []
  if (settings.system.trim() !== '') messages.push({ role: 'system', content: settings.system })
  const toParts = async ({ text, pictures }: Question): Promise<Part[]> => [
    ...(await Promise.all(pictures.map(async (picture) => partOf(picture, settings.detail, await urlOf(picture))))),
    ...(text.trim() === '' ? [] : [{ type: 'text', text }]),
  ]
  let unanswered: Part[] = []
  let call: string | undefined
  const ask = (parts: Part[]): void => {
    messages.push({ ...(call ? { role: 'tool', tool_call_id: call } : { role: 'user' }), content: plain(parts) })
    call = undefined
  }
  for (const turn of before) {
    const answer = answerIn(turn, column)
    if (answer !== undefined && isRefused(answer)) continue
    const parts = [...unanswered, ...(await toParts(turn.question))]
    const called = answer === undefined ? [] : callsOf(answer)
    if (answer === undefined || (answer.text === '' && called.length === 0)) {
      unanswered = parts
      continue
    }
    unanswered = []
    ask(parts)
    const calls = called.map(({ id, name, arguments: given }) => ({
      ...{ id, type: 'function' },
      function: { name, arguments: given },
    }))
    messages.push({ role: 'assistant', content: answer.text, ...(calls.length > 0 ? { tool_calls: calls } : {}) })
    call = called[0]?.id
  }
  ask([...unanswered, ...(await toParts(question))])
  return { body: { model, messages, ...bodyOf(settings) }, firstPart: unanswered.length }
}

export function partOf(picture: Picture, detail: string, url: string): Part {
  const input = inputOf(picture)
  const looked = detail === 'auto' ? {} : { detail }
  if (input === 'video') return { type: 'video_url', video_url: { url, ...looked } }
  if (input === 'audio') return { type: 'input_audio', input_audio: { data: url, format: formatOf(picture) } }
  // A number alone is how many pages are taken, not which one.
  const pages = picture.pages === '' ? {} : { pages: picture.pages.trim().replace(/^\d+$/, '$&-$&') }
  if (isDocument(picture)) return { type: 'file', file: { filename: picture.name, file_data: url, ...pages } }
  return { type: 'image_url', image_url: { url, ...looked, ...pages } }
}

/** Clients of OpenAI must say it; the server looks at the bytes. */
const formatOf = ({ name, type }: Picture): string =>
  /\.([a-z0-9]{2,4})$/i.exec(name)?.[1]?.toLowerCase() ?? type.replace(/^.*\/(x-)?/, '')

/** A text alone is a string, as people write it. */
function plain(parts: Part[]): string | Part[] {
  const [first] = parts
  return parts.length === 1 && typeof first?.text === 'string' ? first.text : parts
}
