import { get } from './asking.ts'
import { callOf } from './chat-body.ts'
import { readChunks } from './chunks.ts'
import { counts } from './counts.ts'
import { failureOf } from './failures.ts'
import { findsModels } from './found-models.ts'
import { variants } from './variants.ts'
import type { Wire } from './wire.ts'

/** Paths that say whether a server works, where that is not the list of its models. */
const healthPaths = {
  ...{ vllm: '/health', sglang: '/health', 'llama-server': '/health', ollama: '/api/version', oriel: '/ready' },
} satisfies Partial<Record<keyof typeof variants, string>>

const headers = (key: string | null): Record<string, string> => (key === null ? {} : { authorization: `Bearer ${key}` })

/** OpenAI's chats and completions, as a server speaks them. */
export function chatCompletions(api: keyof typeof variants): Wire {
  const variant = variants[api]
  return {
    headers,
    call: (ask, model) => callOf(ask, model, variant),
    events: (body, ask, usage) => readChunks(body, ask, usage, variant),
    failure: failureOf,
    count: (ask, model, upstream, signal) =>
      counts[api](ask, model, variant, upstream, headers(upstream.settings.key), signal),
    models: (upstream, signal) => findsModels[api](upstream, headers(upstream.settings.key), signal),
    health: get(api in healthPaths ? healthPaths[api as keyof typeof healthPaths] : '/v1/models'),
  }
}
