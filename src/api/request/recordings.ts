import { z } from 'zod'
import { leastPerSecond } from '../../attachments.ts'
import type { Attachment } from '../../deployments/index.ts'
import { dataOrUrl, detail, orBeside, type RequestAttachment } from './content.ts'

/** Videos and audio in requests. The parts of every protocol become one of two attachments here. */

const error = 'must be seconds from the start of the file, 0 or more: 12.5 or "12.5s"'

/** A time in a recording, as a number or as Gemini writes it. */
const seconds = z
  .union([z.number({ error }).min(0, { error }), z.string({ error }).regex(/^\d{1,9}(\.\d{1,9})?s$/, { error })], {
    error,
  })
  .transform((given) => (typeof given === 'string' ? Number(given.slice(0, -1)) : given))

const clip = z
  .object({
    start: seconds.nullish().describe('Default: the start of the file.'),
    end: seconds.nullish().describe('Default: the end of the file.'),
  })
  .refine(({ start, end }) => end == null || end > (start ?? 0), {
    path: ['end'],
    error: 'must be after the start of the clip',
  })
  .transform(({ start, end }) => ({ start: start ?? undefined, end: end ?? undefined }))
  .nullish()
  .describe('The part that the model gets, in seconds from the start.')

/** How a video is read. */
const watching = {
  detail,
  max_frames: z.int().min(1).nullish().describe('Frames that the model sees, at most.'),
  sample_fps: z
    .number()
    .min(leastPerSecond)
    .nullish()
    .describe('Frames that the model sees of each second, fewer if they are too many.'),
  fps: z.number().min(leastPerSecond).nullish().describe('Same as sample_fps.'),
  spatial_limit: z
    .int()
    .min(1)
    .nullish()
    .describe('The longest edge of a frame in pixels. Larger frames are shrunk to it.'),
  choose: z
    .enum(['even', 'scenes'])
    .nullish()
    .describe('Which frames: spread evenly over time, which is the default, or those where the picture changes.'),
  clip,
}

/** How audio is read. */
const hearing = { clip }

type Watching = Partial<z.output<z.ZodObject<typeof watching>>>

export function video(url: string, field: string, options: Watching = {}): RequestAttachment {
  const { detail, max_frames, sample_fps, fps, spatial_limit, choose, clip } = options
  const frames = {
    most: max_frames ?? undefined,
    perSecond: sample_fps ?? fps ?? undefined,
    longestEdge: spatial_limit ?? undefined,
    choose: choose ?? undefined,
  }
  return { kind: 'video', url, field, detail: detail ?? 'auto', frames, clip: clip ?? undefined }
}

export const audio = (
  url: string,
  field: string,
  { clip }: { clip?: Attachment['clip'] | null } = {},
): RequestAttachment => ({
  kind: 'audio',
  url,
  field,
  detail: 'auto',
  clip: clip ?? undefined,
})

/** Fireworks' form and vLLM's, or the bare URL. `data:video/jpeg` may have several frames, separated by commas. */
export const videoUrl = z
  .object({
    type: z.literal('video_url'),
    video_url: z.union([z.string(), z.object({ url: dataOrUrl, ...watching })]),
    ...watching,
  })
  .transform(({ video_url: given, ...beside }) =>
    typeof given === 'string'
      ? video(given, 'video_url', beside)
      : video(given.url, 'video_url', orBeside(given, beside)),
  )

export const audioUrl = z
  .object({
    type: z.literal('audio_url'),
    audio_url: z.union([z.string(), z.object({ url: dataOrUrl, ...hearing })]),
    ...hearing,
  })
  .transform(({ audio_url: given, ...beside }) =>
    typeof given === 'string'
      ? audio(given, 'audio_url', beside)
      : audio(given.url, 'audio_url', orBeside(given, beside)),
  )

/** OpenAI's form. */
export const inputAudio = z
  .object({
    type: z.literal('input_audio'),
    input_audio: z.object({
      data: z.string({ error: 'must be a string: the file in base64, or as a data: URL' }),
      format: z.string().nullish().describe('The server recognizes the format by the content.'),
      ...hearing,
    }),
  })
  .transform(({ input_audio: given }) => audio(given.data, 'input_audio', given))

/** A video as OpenAI's Responses have images. */
export const inputVideo = z
  .object({ type: z.literal('input_video'), video_url: dataOrUrl, ...watching })
  .transform((part) => video(part.video_url, 'video_url', part))
