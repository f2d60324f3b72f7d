import { z } from 'zod'
import type { Grounding } from '../../deployments/index.ts'
import { optional } from '../request/validation.ts'

/** Asks for `boxes` and `points`, in every protocol. */
export const returnBoxes = optional(
  z.boolean(),
  'Return the boxes and points of the answer, in pixels of the image as it was sent. Models without a known form of them refuse it.',
)

const onImage = {
  image: z.int().describe('The index of the image in the prompt, counted from 0.'),
  label: z.string().nullable().describe('null: the answer does not name it.'),
}

/** Fields of an answer whose request has `return_boxes`. */
export const grounding = {
  boxes: z
    .array(z.strictObject({ ...onImage, x1: z.number(), y1: z.number(), x2: z.number(), y2: z.number() }))
    .optional()
    .describe('If the request has `return_boxes`. In pixels of the upright image as it was sent, from its top left.'),
  points: z
    .array(z.strictObject({ ...onImage, x: z.number(), y: z.number() }))
    .optional()
    .describe('As `boxes`.'),
}

export const groundingOf = ({ grounding }: { grounding?: Grounding }): Partial<Grounding> => grounding ?? {}
