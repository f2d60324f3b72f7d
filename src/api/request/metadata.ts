import { z } from 'zod'
import { pairsOf } from './pairs.ts'

/** A text by which a client knows something, which answers repeat. */
export const ownText = z.string().max(512)

/** Pairs of metadata, as OpenAI allows them. */
const mostMetadata = 16

/** What a client says of a thing for itself, which answers repeat. */
export const ownMetadata = pairsOf(ownText, {
  most: mostMetadata,
  name: { pattern: /^[\s\S]{0,64}$/, error: 'must have a name of at most 64 characters' },
})
