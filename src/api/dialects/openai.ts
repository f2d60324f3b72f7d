import { fileEndpoints } from '../files/files.ts'
import { fineTuningEndpoints } from '../fine-tuning/endpoints.ts'
import { errorOf, openaiEndpoints, openaiError } from '../openai-protocols.ts'
import { completionsUsageEndpoint, costsEndpoint } from '../usage/organization.ts'
import type { Dialect, ErrorFormat } from './dialect.ts'

const errors: ErrorFormat<typeof openaiError> = {
  // Its clients repeat a request after a 408 by themselves, and the URL would be fetched again and again.
  statuses: { url_timeout: 400 },
  schema: openaiError,
  body: (error) => ({ error: errorOf(error) }),
}

export const openai: Dialect = {
  title: 'OpenAI',
  // Clients of vLLM and llama.cpp leave `/v1` out.
  bases: ['/v1', ''],
  endpoints: [...openaiEndpoints, ...fileEndpoints, ...fineTuningEndpoints, completionsUsageEndpoint, costsEndpoint],
  errors,
  defaults: { overflow: 'error', completionTokens: 16 },
}
