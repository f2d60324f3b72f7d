import { z } from 'zod'

/** A file that has come, as OpenAI's API and Fireworks' describe it. */
export const uploadedFile = z.strictObject({
  id: z.string(),
  object: z.literal('file'),
  bytes: z.int(),
  created_at: z.int().describe('Seconds since 1970.'),
  filename: z.string(),
  purpose: z.enum(['fine-tune', 'fine-tune-results']),
})
export type UploadedFile = z.output<typeof uploadedFile>
