import { z } from 'zod'
import { placedMessage } from '../errors.ts'
import { ollamaEndpoints } from '../ollama/endpoints.ts'
import type { Dialect, ErrorFormat } from './dialect.ts'

const schema = z.strictObject({ error: z.string() })

const errors: ErrorFormat<typeof schema> = {
  schema,
  body: (error) => ({ error: placedMessage(error) }),
}

/** Ollama's API: its own chats and completions, streamed as lines of JSON. It shares no endpoint with the others. */
export const ollama: Dialect = {
  title: 'Ollama',
  bases: ['/api'],
  endpoints: ollamaEndpoints,
  errors,
  // The examples of its documentation send none, and curl then says that the body is a form.
  readsAnyType: true,
  defaults: { overflow: 'truncate', completionTokens: null },
}
