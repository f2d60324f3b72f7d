import { OrielError } from '../../errors.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { mostMessages } from '../request/content.ts'
import { type InputTokensRequest, items, type ResponsesItem } from './schema.ts'
import type { ResponseStore, StoredItem } from './store.ts'
import { valuesIn } from './values.ts'

/** An item of a conversation. */
export interface PlacedItem {
  item: ResponsesItem
  /** Where the request has it, for errors: `input[3]`. */
  param: string
}

/** The parameter that stands for every item of earlier turns. */
export const earlier = 'previous_response_id'

/** Strings, arrays and objects that earlier turns may have together, as many as a body. */
const mostValues = 100_000

/** All items of a conversation: those of the turns that the request continues, and its own. @throws OrielError `invalid`, `not_found` */
export async function conversationOf(
  { previous_response_id: previous, input }: InputTokensRequest,
  { responses }: Pick<RequestContext, 'responses'>,
): Promise<PlacedItem[]> {
  const stored = previous == null ? [] : await turnsBefore(previous, responses)
  const before = parsed(await Promise.all(stored.map((item) => resolved(item, responses, earlier))))
  const own =
    typeof input === 'string'
      ? [{ item: { role: 'user' as const, content: input }, param: 'input' }]
      : await Promise.all(input.map((item, index) => placed(item, `input[${index}]`, responses)))
  return [...before.map((item) => ({ item, param: earlier })), ...own]
}

/** The items of a response and of those that it continues, oldest first. @throws OrielError `invalid` */
export async function turnsBefore(id: string, responses: ResponseStore): Promise<StoredItem[]> {
  const turns: (readonly StoredItem[])[] = []
  let items = 0
  let values = 0
  for (let next: string | null = id; next !== null; ) {
    const stored = await responses.get(next)
    if (stored === undefined)
      throw new OrielError(
        'invalid',
        `${next === id ? 'The previous response' : 'A response that the previous response continues'} was not found. It was not stored, or it has been deleted, or it is too old: send the whole conversation as input.`,
        { param: earlier, code: 'previous_response_not_found' },
      )
    const { input, response } = stored
    for (const _ of valuesIn([input, response.output])) values++
    items += input.length + response.output.length
    if (items > mostMessages || values > mostValues)
      throw new OrielError(
        'invalid',
        `The conversation has more than ${mostMessages} items, or more than ${mostValues} strings, arrays and objects: send the part of it that matters as input.`,
        { param: earlier, code: 'conversation_too_long' },
      )
    turns.push([...input, ...response.output])
    next = response.previous_response_id
  }
  return turns.reverse().flat()
}

/** What a stored item refers to, or the item itself. @param param for errors @throws OrielError `not_found` */
export async function resolved(item: StoredItem, responses: ResponseStore, param: string): Promise<StoredItem> {
  const { type, id } = item
  if (type !== 'item_reference' || typeof id !== 'string') return item
  const found = await itemCalled(id, responses)
  if (found !== undefined) return found
  throw new OrielError(
    'not_found',
    `${param}.id is the id of no stored item. Items of a response are stored unless it is created with store: false.`,
    { param: `${param}.id`, code: 'item_not_found' },
  )
}

const placed = async (item: ResponsesItem, param: string, responses: ResponseStore): Promise<PlacedItem> => {
  if (item.type !== 'item_reference') return { item, param }
  const [found = item] = parsed([await resolved(item, responses, param)])
  return { item: found, param }
}

/** The ids of a response's items are made from its own: `msg_0b1c…-2`. */
export const itemId = (prefix: string, answer: string, place: string | number) => `${prefix}_${answer}-${place}`

export const responseId = (answer: string) => `resp_${answer}`

async function itemCalled(id: string, responses: ResponseStore): Promise<StoredItem | undefined> {
  const [, answer] = /^[a-z]+_(.+)-\w+$/.exec(id) ?? []
  if (answer === undefined) return undefined
  const stored = await responses.get(responseId(answer))
  return [...(stored?.input ?? []), ...(stored?.response.output ?? [])].find((item) => item.id === id)
}

/** Stored items were valid when they came, and are parsed again because the store has JSON. */
const parsed = (stored: readonly StoredItem[]): ResponsesItem[] => items.parse(stored)
