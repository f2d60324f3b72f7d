import { z } from 'zod'
import { optional } from '../request/validation.ts'
import { answeredPictures } from './pictures.ts'

/** Asks for `cost` and `pictures`, in every protocol. */
export const includeUsage = optional(
  z.looseObject({ include: z.boolean().nullish() }),
  'With `include`, the usage of the answer has its cost, and what became of each image.',
)

/** Fields of the usage of an answer whose request has `usage: {include: true}`. */
export const included = {
  cost: z.number().optional().describe('In the currency of the prices, if the request includes it.'),
  pictures: answeredPictures.optional(),
}
