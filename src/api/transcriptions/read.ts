import { type Attachment, mostTokensSaid, type Pieces, plainSettings, type Speech } from '../../deployments/index.ts'
import { type AnswerRequest, type ClientRequest, isolationOf } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { invalidValue } from '../request/validation.ts'
import type { SpokenRequest } from './schema.ts'

/** What is made of speech: its text, or the text in English. */
export type Task = Speech['task']

/**
 * Into what audio is cut whose times are asked for: into what encoders of speech hear at once. Each piece takes a place in
 * the queue of the engine.
 */
export const pieces: Pieces = { longest: 30, most: 150 }

/** Whether the answer has times, for which the audio is read in pieces. */
export const isTimed = ({ response_format: format }: SpokenRequest): boolean =>
  format === 'srt' || format === 'vtt' || format === 'verbose_json'

/** A file of speech as a question to a model. @throws OrielError `invalid` */
export function readSpoken(task: Task, body: SpokenRequest, context: RequestContext): AnswerRequest {
  if (body.stream && isTimed(body))
    throw invalidValue('stream', `stream is true, but ${body.response_format} cannot be streamed: json and text can.`)
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages: [
        {
          role: 'user',
          content: [
            { kind: 'audio', attachment: 0 },
            { kind: 'text', text: instructionOf(task, body) },
          ],
        },
      ],
      tools: [],
      calling: { mode: 'none', parallel: false },
      variables: { enable_thinking: false },
      splitReasoning: true,
      continues: false,
      longest: null,
    },
    attachments: [{ kind: 'audio', bytes: body.file.bytes, detail: 'auto', param: 'file' }],
    settings: {
      ...plainSettings,
      // Nobody asks for a length. It is bounded by that of the audio.
      overflow: 'truncate',
      sampling: { temperature: body.temperature ?? 0 },
      topLogprobs: body.response_format === 'verbose_json' ? 0 : null,
      isolation: isolationOf(context.isolationKey),
    },
    speech: { task, attachment: 0, language: body.language ?? null, about: body.prompt?.trim() || null },
    params: { prompt: 'file', grammar: 'file', longest: 'file' },
  }
}

function instructionOf(task: Task, { language, prompt }: SpokenRequest): string {
  const about = prompt?.trim() ? ` For context: ${prompt.trim()}` : ''
  if (task === 'translate') return `Translate the speech into English. Write only the translation.${about}`
  const spoken = language == null ? '' : ` It is in ${nameOf(language)}.`
  return `Transcribe the audio.${spoken} Write only what is said.${about}`
}

/** `English` of `en`. @throws OrielError `invalid` */
export function nameOf(language: string): string {
  const name = names.of(language)
  if (name === undefined || name.toLowerCase() === language.toLowerCase())
    throw invalidValue('language', 'language must be the code of a language by ISO 639, such as "en".')
  return name
}

const names = new Intl.DisplayNames('en', { type: 'language', fallback: 'none' })

/** One question for each piece. */
export const askedInPieces = (request: ClientRequest, pieces: readonly Attachment[]): ClientRequest[] =>
  pieces.map((piece) => {
    const asked = { ...request, attachments: [piece] }
    const { start, end } = timesOf(asked)
    return { ...asked, settings: { ...request.settings, maxTokens: mostTokensSaid(end - start) } }
  })

/** When the piece is heard that a question is about, in seconds from the start of the recording. */
export function timesOf(asked: Pick<ClientRequest, 'attachments'> | undefined): { start: number; end: number } {
  const { start = 0, end = 0 } = asked?.attachments[0]?.clip ?? {}
  return { start, end }
}
