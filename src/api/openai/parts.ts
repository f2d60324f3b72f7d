import { z } from 'zod'
import { refusal } from '../validation.ts'

/** How closely a picture is looked at. */
export const detail = z
  .enum(['low', 'high', 'auto'])
  .nullish()
  .transform((given) => given ?? 'auto')

/** Which frames of an animation or pages of a document are meant. The two names mean the same, and both are ours. */
const choice = z
  .union([z.string(), z.int().min(1)], { error: 'must be a string like "1-3,7" or "all", or how many: 8' })
  .nullish()
export const choices = { frames: choice, pages: choice }

/** Where a picture is: an object as OpenAI has it, or the bare URL that many clients send. */
export const imageUrl = z.union([
  z.string().transform((url) => ({ url, detail: 'auto' as const, frames: null, pages: null })),
  z.object({ url: z.string({ error: 'must be a string: a data:, http: or https: URL' }), detail, ...choices }),
])

/** A part that other servers may take. */
export const refused = <T extends string>(type: T, why: string) =>
  z
    .object({ type: z.literal(type) })
    .refine(() => false, { error: `has the type ${type}: ${why}`, path: ['type'] })
    .meta(refusal)

export const textPart = z.object({ type: z.enum(['text', 'input_text']), text: z.string() })

/** A document, whose pages become pictures. */
export const file = z.object({
  file_data: z.string({ error: 'must be a string: the file itself as a data: URL, since this server stores no files' }),
  filename: z.string().nullish(),
  ...choices,
})

/** The same as the Responses API has it, which may name a URL too. */
export const inputFile = z
  .object({
    type: z.literal('input_file'),
    file_data: z.string().nullish(),
    file_url: z.string().nullish(),
    filename: z.string().nullish(),
    ...choices,
  })
  .refine(({ file_data, file_url }) => (file_data == null) !== (file_url == null), {
    path: ['file_data'],
    error: 'or file_url must be there, one of the two: the file itself as a data: URL, or where it is',
  })
