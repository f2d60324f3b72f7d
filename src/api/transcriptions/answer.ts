import { deflateSync } from 'node:zlib'
import { z } from 'zod'
import type { Choice } from '../../deployments/index.ts'
import { withheld } from '../../errors.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { collect } from '../answering/collect.ts'
import type { ClientRequest } from '../answering/request.ts'
import { promptKinds } from '../shapes/usage.ts'
import { nameOf, type Task, timesOf } from './read.ts'
import { SaidReader, saidIn } from './said.ts'
import type { SpokenRequest } from './schema.ts'
import { srtOf, vttOf } from './subtitles.ts'

const tokensUsage = z.strictObject({
  type: z.literal('tokens'),
  input_tokens: z.int(),
  input_token_details: z.strictObject({ text_tokens: z.int(), audio_tokens: z.int() }),
  output_tokens: z.int(),
  total_tokens: z.int(),
})

const transcription = z.strictObject({ text: z.string(), usage: tokensUsage })

/** One for each piece, of up to 30 seconds, in which something is said. */
const segment = z.strictObject({
  id: z.int(),
  seek: z.int().describe('Where its piece begins, in hundredths of a second.'),
  start: z.number(),
  end: z.number(),
  text: z.string(),
  tokens: z.array(z.int()),
  temperature: z.number(),
  avg_logprob: z.number(),
  compression_ratio: z.number().describe('Bytes of the text, to those when it is compressed.'),
  no_speech_prob: z.null().describe('Not known.'),
})

const verboseTranscription = z.strictObject({
  task: z.enum(['transcribe', 'translate']),
  language: z.string().nullable().describe('null: neither the request nor the model names it.'),
  duration: z.number().describe('In seconds.'),
  text: z.string(),
  segments: z.array(segment),
  usage: z.strictObject({ type: z.literal('duration'), seconds: z.int() }),
})

/** `srt`, `vtt` and `text`. */
const plainText = z.string()

export const anyTranscription = z.union([transcription, verboseTranscription, plainText])

export const transcriptionEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('transcript.text.delta'), delta: z.string() }),
  z.strictObject({ type: z.literal('transcript.text.done'), text: z.string(), usage: tokensUsage }),
])

/** @param asked one request, or one for each piece of the recording */
export const whole =
  (task: Task) => async (answer: RunningAnswer, body: SpokenRequest, _: unknown, asked: readonly ClientRequest[]) => {
    const { choices, tally } = await collect(answer)
    if (choices.some(({ reason }) => reason === 'content_filter')) throw withheld()
    const { timings, completionTokens } = tally
    const shaped = (): z.output<typeof anyTranscription> => {
      const { response_format: format } = body
      if (format === 'text') return `${saidBy(choices)}\n`
      if (format == null || format === 'json')
        return { text: saidBy(choices), usage: usageOf(answer, completionTokens) }
      const segments = segmentsOf(choices, asked, body)
      if (format === 'verbose_json') return verbose(task, segments, choices, asked, body)
      return format === 'srt' ? srtOf(segments) : vttOf(segments)
    }
    return { body: shaped(), timings }
  }

export async function* events(answer: RunningAnswer): AsyncIterable<z.output<typeof transcriptionEvent>> {
  const reader = new SaidReader()
  let text = ''
  for await (const event of answer.events) {
    if (event.type === 'end' && event.reason === 'content_filter') throw withheld()
    if (event.type === 'done') {
      const delta = reader.end()
      if (delta !== '') yield { type: 'transcript.text.delta', delta }
      const usage = usageOf(answer, event.tally.completionTokens)
      yield { type: 'transcript.text.done', text: text + delta, usage }
    } else if (event.type === 'part') {
      const written = event.pieces.map((piece) => (piece.kind === 'text' ? piece.text : '')).join('')
      const delta = reader.push(written)
      text += delta
      if (delta !== '') yield { type: 'transcript.text.delta', delta }
    }
  }
}

function usageOf({ usage }: RunningAnswer, completionTokens: number): z.output<typeof tokensUsage> {
  const { audioTokens } = promptKinds(usage)
  return {
    type: 'tokens',
    input_tokens: usage.promptTokens,
    input_token_details: { text_tokens: usage.promptTokens - audioTokens, audio_tokens: audioTokens },
    output_tokens: completionTokens,
    total_tokens: usage.promptTokens + completionTokens,
  }
}

type Segment = z.output<typeof segment>

function segmentsOf(choices: readonly Choice[], asked: readonly ClientRequest[], body: SpokenRequest): Segment[] {
  const all = choices.map((choice, index) => ({ ...timesOf(asked[index]), choice, text: saidIn(choice.text).text }))
  return all
    .filter(({ text }) => text !== '')
    .map(({ start, end, choice: { tokens }, text }, id) => ({
      ...{ id, seek: Math.round(start * 100), start, end, text },
      tokens: tokens.map((token) => token.id),
      temperature: body.temperature ?? 0,
      avg_logprob: tokens.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0) / Math.max(1, tokens.length),
      compression_ratio: Buffer.byteLength(text) / deflateSync(text).length,
      no_speech_prob: null,
    }))
}

function verbose(
  task: Task,
  segments: Segment[],
  choices: readonly Choice[],
  asked: readonly ClientRequest[],
  { language }: SpokenRequest,
): z.output<typeof verboseTranscription> {
  const duration = timesOf(asked.at(-1)).end
  const heard = choices.map(({ text }) => saidIn(text).language).find((one) => one !== null) ?? null
  return {
    task,
    language: task === 'translate' ? 'english' : language == null ? heard : nameOf(language).toLowerCase(),
    duration,
    text: saidBy(choices),
    segments,
    usage: { type: 'duration', seconds: Math.ceil(duration) },
  }
}

/** Of all pieces. Languages without spaces between words get none between pieces. */
const saidBy = (choices: readonly Choice[]): string =>
  choices
    .map(({ text }) => saidIn(text).text)
    .filter((text) => text !== '')
    .reduce((all, text) => (all === '' || withoutSpaces.test(all) ? all + text : `${all} ${text}`), '')

const withoutSpaces = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}。、！？]$/u
