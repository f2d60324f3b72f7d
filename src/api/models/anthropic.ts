import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import type { ListedModel } from '../../deployments/index.ts'
import { invalidValue, parseBody } from '../request/validation.ts'
import { createdAt, isHere } from './listed.ts'

/** Every request of Anthropic's clients has this header. */
export const versionHeader = 'anthropic-version'

export const isAnthropic = (headers: IncomingHttpHeaders): boolean => versionHeader in headers

/** A model as Anthropic lists it. */
export const anthropicModel = z.strictObject({
  type: z.literal('model'),
  id: z.string(),
  display_name: z.string(),
  created_at: z.iso.datetime(),
  max_input_tokens: z.int().nullable(),
  max_tokens: z.int().nullable(),
  lifecycle: z.literal('active'),
  capabilities: z.null(),
  line: z.null(),
  deprecated_at: z.null(),
  retires_at: z.null(),
})

export const anthropicModels = z.strictObject({
  data: z.array(anthropicModel),
  has_more: z.boolean(),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
})

export const pageQuery = [
  { name: 'limit', description: "Models of a page, 1 to 1000. For Anthropic's clients." },
  { name: 'after_id', description: "The page after this model. For Anthropic's clients." },
  { name: 'before_id', description: "The page before this model. For Anthropic's clients." },
]

export const anthropicModelOf = (model: ListedModel): z.output<typeof anthropicModel> => ({
  type: 'model',
  id: model.id,
  display_name: model.title,
  created_at: createdAt(model),
  max_input_tokens: model.contextTokens || null,
  max_tokens: model.contextTokens || null,
  lifecycle: 'active',
  capabilities: null,
  line: null,
  deprecated_at: null,
  retires_at: null,
})

const page = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(20),
  after_id: z.string().optional(),
  before_id: z.string().optional(),
})

/** A page of the models that requests can name. @throws OrielError `invalid` */
export function anthropicPage(models: readonly ListedModel[], query: unknown): z.output<typeof anthropicModels> {
  const { limit, after_id: after, before_id: before } = parseBody(page, query)
  if (after !== undefined && before !== undefined)
    throw invalidValue('before_id', 'after_id and before_id are both present: send one of them.')
  const all = models.filter(isHere)
  const placeOf = (param: string, id: string): number => {
    const place = all.findLastIndex((model) => model.id === id)
    if (place < 0) throw invalidValue(param, `${param} is not the id of a model of this list.`)
    return place
  }
  const start = after === undefined ? 0 : placeOf('after_id', after) + 1
  const end = before === undefined ? all.length : placeOf('before_id', before)
  // A page before a model is the one next to it, so it is cut at its beginning.
  const data = before === undefined ? all.slice(start, start + limit) : all.slice(Math.max(0, end - limit), end)
  return {
    data: data.map(anthropicModelOf),
    has_more: data.length < end - start,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  }
}
