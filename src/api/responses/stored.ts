import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { sendWhole } from '../answer-route.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { invalidValue, parseBody } from '../request/validation.ts'
import { earlier, gone, itemId, resolver, type Stored, turnsBefore } from './history.ts'
import { response } from './response.ts'
import type { StoredItem, StoredResponse } from './store.ts'

const deleted = z.strictObject({ id: z.string(), object: z.literal('response'), deleted: z.literal(true) })

const itemList = z.strictObject({
  object: z.literal('list'),
  data: z.array(z.looseObject({ id: z.string(), type: z.string() })),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
})

const place = { path: '/responses/{response_id}', pattern: '/responses/:response_id', tag: 'OpenAI' }

export const retrieveEndpoint: Endpoint = {
  ...place,
  method: 'GET',
  summary: 'Get a stored response',
  answer: response,
  handler:
    ({ services: { responses } }) =>
    async ({ params, query, identity }, reply) => {
      if ((query as { stream?: unknown }).stream === 'true')
        throw invalidValue('stream', 'stream must be false: this server does not keep the events of a response.')
      return sendWhole(reply, (await storedBy(params, { responses, account: identity.account })).response)
    },
}

export const deleteEndpoint: Endpoint = {
  ...place,
  method: 'DELETE',
  summary: 'Delete a stored response',
  answer: deleted,
  handler:
    ({ services: { responses } }) =>
    async ({ params, identity: { account } }): Promise<z.output<typeof deleted>> => {
      const { id } = (await storedBy(params, { responses, account })).response
      await responses.delete(id, { account })
      return { id, object: 'response', deleted: true }
    },
}

export const inputItemsEndpoint: Endpoint = {
  method: 'GET',
  path: `${place.path}/input_items`,
  pattern: `${place.pattern}/input_items`,
  tag: place.tag,
  summary: 'List what a stored response answers: the items of its request, and those of earlier turns',
  query: [
    { name: 'limit', description: 'Items of a page, 1 to 100. Default: 20.' },
    { name: 'order', description: '`desc` lists the newest first, which is the default; `asc` the oldest.' },
    { name: 'after', description: 'The page after the item with this id.' },
    { name: 'include', description: '`message.input_image.image_url`: list images with their data.' },
  ],
  answer: itemList,
  handler:
    ({ services: { responses } }) =>
    async ({ params, query, identity: { account } }, reply) => {
      const context = { responses, account }
      return sendWhole(reply, await pageOf(await inputOf(await storedBy(params, context), context), query, context))
    },
}

/** The items of a request as they are kept. @param sent its body, which its schema has checked */
export function storedInput(answer: string, sent: unknown): StoredItem[] {
  const { input } = sent as { input: string | readonly StoredItem[] }
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  return items.map((item: StoredItem, index) => {
    const { type = 'message', role, content, id } = item
    const prefix = prefixes[String(type)] ?? 'item'
    const part = role === 'assistant' ? { type: 'output_text', annotations: [] } : { type: 'input_text' }
    return {
      ...item,
      type,
      id: typeof id === 'string' ? id : itemId(prefix, answer, `i${index}`),
      ...(type === 'reasoning' || type === 'item_reference' ? {} : { status: 'completed' }),
      ...(typeof content === 'string' ? { content: [{ ...part, text: content }] } : {}),
    }
  })
}

const prefixes: Record<string, string> = {
  message: 'msg',
  reasoning: 'rs',
  function_call: 'fc',
  function_call_output: 'fco',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
}

/** @throws OrielError `not_found` */
async function storedBy(params: unknown, { responses, account }: Stored): Promise<StoredResponse> {
  const stored = await responses.get((params as { response_id: string }).response_id, { account })
  if (stored !== undefined) return stored
  throw new OrielError('not_found', `The response was not found. ${gone}.`, { code: 'response_not_found' })
}

/** What a response answers, oldest first, with references as they are. @throws OrielError `invalid` if an earlier turn is gone */
async function inputOf({ response, input }: StoredResponse, context: Stored): Promise<StoredItem[]> {
  const before = response.previous_response_id
  return [...(before === null ? [] : await turnsBefore(before, context)), ...input]
}

const page = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().optional(),
  include: z.union([z.string(), z.array(z.string())]).optional(),
  'include[]': z.union([z.string(), z.array(z.string())]).optional(),
})

/** @throws OrielError `invalid` */
async function pageOf(items: readonly StoredItem[], query: unknown, context: Stored) {
  const { limit, order, after, ...included } = parseBody(page, query)
  const all = order === 'asc' ? items : items.toReversed()
  // The last one, because a client that sends an item again would read the pages between them for ever.
  const start = after === undefined ? 0 : all.findLastIndex(({ id }) => id === after) + 1
  if (after !== undefined && start === 0) throw invalidValue('after', 'after is not the id of an item of this list.')
  // A reference has the id of its item.
  const resolve = resolver(context)
  const shown = await Promise.all(all.slice(start, start + limit).map((item) => resolve(item, earlier)))
  const withImages = Object.values(included).flat().includes('message.input_image.image_url')
  return {
    object: 'list',
    data: withImages ? shown : shown.map(withoutImages),
    first_id: shown[0]?.id ?? null,
    last_id: shown.at(-1)?.id ?? null,
    has_more: start + shown.length < all.length,
  }
}

/** As OpenAI lists items unless a client asks for more: an image may have megabytes. */
const withoutImages = (item: StoredItem): StoredItem =>
  Object.fromEntries(
    Object.entries(item).map(([name, value]) => [name, Array.isArray(value) ? value.map(withoutImage) : value]),
  )

const withoutImage = (part: unknown): unknown =>
  typeof part === 'object' && part !== null && 'image_url' in part ? { ...part, image_url: null } : part
