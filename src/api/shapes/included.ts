import { z } from 'zod'
import type { Tally } from '../../deployments/index.ts'
import { optional } from '../request/validation.ts'
import { answeredPictures, picturesOf } from './pictures.ts'
import { answeredAudio, answeredVideos, audioOf, videosOf } from './recordings.ts'

/** Asks for `cost` and what became of the attachments, in every protocol. */
export const includeUsage = optional(
  z.looseObject({ include: z.boolean().nullish() }),
  'With `include`, the usage of the answer has its cost, and what became of each image, video and audio.',
)

/** Fields of the usage of an answer whose request has `usage: {include: true}`. */
export const included = {
  cost: z.number().optional().describe('In the currency of the prices, if the request includes it.'),
  pictures: answeredPictures.optional(),
  videos: answeredVideos.optional(),
  audio: answeredAudio.optional(),
}

/** What a backend tells of the attachments of an answer. */
export type AnsweredAttachments = Pick<Tally, 'images' | 'videos' | 'audio'>

export const attachmentsOf = ({ images, videos, audio }: AnsweredAttachments) => ({
  ...(images && { pictures: picturesOf(images) }),
  ...(videos && videos.length > 0 && { videos: videosOf(videos) }),
  ...(audio && audio.length > 0 && { audio: audioOf(audio) }),
})
