import { z } from 'zod'
import { type FileHints, kindOfFile } from '../../attachments.ts'
import { detail, type ImageOptions, image, orBeside, type RequestAttachment, reading } from './content.ts'
import { audio, video } from './recordings.ts'

/** Parts that may have a file of any kind: an image, a document, a video or audio. */

/** A file that nothing calls a video or audio is an image or a document. @param options of images */
function file(url: string, field: string, hints: FileHints = {}, options: ImageOptions = {}): RequestAttachment {
  const kind = kindOfFile(url, hints)
  if (kind === 'video') return video(url, field)
  return kind === 'audio' ? audio(url, field) : image(url, field, options)
}

/** A file as OpenAI's Responses have it. The pages of a document become images. */
export const inputFile = z
  .object({
    type: z.literal('input_file'),
    file_data: z.string().nullish(),
    file_url: z.string().nullish(),
    filename: z.string().nullish(),
    detail,
    ...reading,
  })
  .refine(({ file_data, file_url }) => (file_data == null) !== (file_url == null), {
    path: ['file_data'],
    error: 'or file_url is required, but not both: the file as a data: URL, or its URL',
  })
  .transform((part) => {
    const hints = { name: part.filename }
    return part.file_url == null
      ? file(part.file_data ?? '', 'file_data', hints, part)
      : file(part.file_url, 'file_url', hints, part)
  })

/** A file as OpenAI's chats have it. */
export const chatFile = z
  .object({
    type: z.literal('file'),
    file: z.object({
      file_data: z.string({
        error: 'must be a string: the file as a data: URL, since stored files are only for fine-tuning',
      }),
      filename: z.string().nullish(),
      detail,
      ...reading,
    }),
    detail,
    ...reading,
  })
  .transform(({ file: given, ...beside }) =>
    file(given.file_data, 'file.file_data', { name: given.filename }, orBeside(given, beside)),
  )

/** A file as Anthropic has it. */
export const source = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('base64'), media_type: z.string().nullish(), data: z.string() }),
    z.object({ type: z.literal('url'), url: z.string() }),
  ],
  { error: 'must be "base64" or "url": stored files are only for fine-tuning' },
)

type Source = z.output<typeof source>

const urlOf = (source: Source): string => (source.type === 'url' ? source.url : source.data)

export const sourceFile = (source: Source): RequestAttachment =>
  file(urlOf(source), 'source', source.type === 'url' ? {} : { type: source.media_type })

export const sourceImage = z
  .object({ type: z.literal('image'), source })
  .transform(({ source }) => image(urlOf(source), 'source'))

/** Anthropic has neither. They are as its images are. */
export const sourceVideo = z
  .object({ type: z.literal('video'), source })
  .transform(({ source }) => video(urlOf(source), 'source'))

export const sourceAudio = z
  .object({ type: z.literal('audio'), source })
  .transform(({ source }) => audio(urlOf(source), 'source'))
