import { z } from 'zod'
import { ask, get } from './asking.ts'
import { post } from './chat-body.ts'
import { countOf } from './counts.ts'
import { failureOf } from './failures.ts'
import { messagesBody, promptFields } from './messages-body.ts'
import { readMessages } from './messages-events.ts'
import type { FoundModel, Wire } from './wire.ts'

const supported = z.object({ supported: z.boolean() }).nullish().catch(null)

const models = z.object({
  data: z.array(
    z.object({
      id: z.string().min(1),
      display_name: z.string().nullish().catch(null),
      created_at: z.string().nullish().catch(null),
      max_input_tokens: z.int().min(1).nullish().catch(null),
      capabilities: z.object({ image_input: supported, thinking: supported }).nullish().catch(null),
    }),
  ),
})

/** The version of the API whose fields are known here. */
const version = { 'anthropic-version': '2023-06-01' }

const headers = (key: string | null): Record<string, string> => ({
  ...version,
  ...(key === null ? {} : { 'x-api-key': key }),
})

/** More models than one upstream has. */
const mostModels = 1000

/** Anthropic's Messages. */
export const messages: Wire = {
  headers,
  call: (asked, model) => post('/v1/messages', messagesBody(asked, model)),
  events: readMessages,
  failure: failureOf,
  async count(asked, model, upstream, signal) {
    const call = post('/v1/messages/count_tokens', promptFields(asked, model))
    const schema = z.object({ input_tokens: z.int().min(0) })
    return countOf((await ask(upstream, call, headers(upstream.settings.key), schema, signal)).input_tokens, asked)
  },
  async models(upstream, signal) {
    const call = get(`/v1/models?limit=${mostModels}`)
    const { data } = await ask(upstream, call, headers(upstream.settings.key), models, signal)
    return data.map(({ id, display_name, created_at, max_input_tokens, capabilities }): FoundModel => {
      const seconds = Date.parse(created_at ?? '') / 1000
      const images = capabilities?.image_input?.supported
      return {
        ...{ id, as: null, title: display_name ?? null, created: Number.isFinite(seconds) ? seconds : null },
        contextTokens: max_input_tokens ?? null,
        // All of its models call tools.
        ...{ inputs: images === undefined ? null : images ? ['image'] : [], tools: true },
        ...{ thoughts: capabilities?.thinking?.supported ?? null, embeds: false },
      }
    })
  },
  health: get('/v1/models?limit=1'),
}
