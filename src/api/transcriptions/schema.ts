import { z } from 'zod'
import { ranges } from '../../deployments/index.ts'
import { FormFile } from '../body/form-reader.ts'
import { optional } from '../request/validation.ts'

const flag = z
  .enum(['true', 'false', 'True', 'False', '1', '0'], { error: 'must be "true" or "false"' })
  .transform((text) => /^(true|1)$/i.test(text))

const list = <Item extends z.ZodType>(item: Item) =>
  z.union([z.array(item), item]).transform((given): z.output<Item>[] => [given].flat() as z.output<Item>[])

/** The fields that both forms have. Those of a form are strings. */
const fields = {
  file: z
    .instanceof(FormFile, { error: 'must be a file of audio, or of a video with sound' })
    .meta({ type: 'string', format: 'binary' }),
  model: z.string().min(1),
  prompt: optional(z.string(), 'What the audio is about, and words that may occur in it.'),
  response_format: optional(
    z.enum(['json', 'text', 'srt', 'vtt', 'verbose_json']),
    'Default: `json`. `srt`, `vtt` and `verbose_json` have times: the audio is read in pieces of 25 to 30 seconds, which end where it is quiet.',
  ),
  temperature: optional(z.coerce.number().pipe(ranges.temperature), 'Default: 0.'),
}

/** A language as the request names it. */
const language = z.string().regex(/^[a-z]{2,3}$/i, { error: 'must be the code of a language by ISO 639, such as "en"' })

export const transcriptionRequest = z.looseObject({
  ...fields,
  language: optional(language, 'The language that is spoken, by ISO 639: `en`. Default: the model finds out.'),
  stream: optional(flag, 'Stream the text as it is heard, with the formats `json` and `text`.'),
  timestamp_granularities: optional(
    list(z.enum(['segment'], { error: 'must be "segment": the times of words are not known' })),
    '`segment`, which `verbose_json` has anyway.',
  ),
})

export const translationRequest = z.looseObject({ ...fields, stream: z.null().optional() })

export type TranscriptionRequest = z.output<typeof transcriptionRequest>
export type TranslationRequest = z.output<typeof translationRequest>
/** Either. */
export type SpokenRequest = Pick<TranslationRequest, keyof typeof fields> &
  Partial<Pick<TranscriptionRequest, 'language' | 'stream'>>
