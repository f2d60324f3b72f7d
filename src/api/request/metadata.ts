import { z } from 'zod'

/** A text by which a client knows something, which answers repeat. */
export const ownText = z.string().max(512)

/** Pairs of metadata, as OpenAI allows them. */
const mostMetadata = 16

/** What a client says of a thing for itself, which answers repeat. */
export const ownMetadata = z
  .record(z.string().max(64), ownText)
  .refine((pairs) => Object.keys(pairs).length <= mostMetadata, { error: `must have at most ${mostMetadata} pairs` })
