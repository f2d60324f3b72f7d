import { OrielError } from '../../errors.ts'
import { limits } from '../body/structure.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { mostMessages } from '../request/content.ts'
import { type InputTokensRequest, item, type ResponsesItem } from './schema.ts'
import type { StoredItem } from './store.ts'
import { valuesIn } from './values.ts'

/** Where stored responses are, and whose of them. */
export type Stored = Pick<RequestContext, 'responses' | 'account'>

/** An item of a conversation. */
export interface PlacedItem {
  item: ResponsesItem
  /** Where the request has it, for errors: `input[3]`. */
  param: string
}

/** The parameter that stands for every item of earlier turns. */
export const earlier = 'previous_response_id'

/** Values that earlier turns may have together. All count, those within others too, but no names. */
const mostValues = limits.values
/** Characters that references may stand for together: one item may be referred to a thousand times. */
const mostCharacters = 16_000_000

/** All items of a conversation: those of the turns that the request continues, and its own. @throws OrielError `invalid`, `not_found` */
export async function conversationOf(
  { previous_response_id: previous, input }: InputTokensRequest,
  context: Stored,
): Promise<PlacedItem[]> {
  const stored = previous == null ? [] : await turnsBefore(previous, context)
  const resolve = resolver(context)
  const taken = async (item: StoredItem, param: string): Promise<PlacedItem> => ({
    item: parsed(await resolve(item, param)),
    param,
  })
  const before = await Promise.all(stored.map((item) => taken(item, earlier)))
  const own =
    typeof input === 'string'
      ? [{ item: { role: 'user' as const, content: input }, param: 'input' }]
      : await Promise.all(
          input.map((item, index) => {
            const param = `input[${index}]`
            return item.type === 'item_reference' ? taken(item, param) : { item, param }
          }),
        )
  return [...before, ...own]
}

/** Why the store does not have a response, as far as anybody knows. */
export const gone = 'It was never stored, or it has been deleted, or the server has dropped it'

/** The items of a response and of those that it continues, oldest first. @throws OrielError `invalid` */
export async function turnsBefore(id: string, { responses, account }: Stored): Promise<StoredItem[]> {
  const turns: (readonly StoredItem[])[] = []
  let items = 0
  let values = 0
  for (let next: string | null = id; next !== null; ) {
    const stored = await responses.get(next, { account })
    if (stored === undefined)
      throw new OrielError(
        'invalid',
        `${next === id ? 'The previous response' : 'A response that the previous response continues'} was not found. ${gone}: send the whole conversation as input.`,
        { param: earlier, code: 'previous_response_not_found' },
      )
    const { input, response } = stored
    for (const _ of valuesIn([input, response.output])) values++
    items += input.length + response.output.length
    if (items > mostMessages || values > mostValues) throw tooLong(earlier)
    turns.push([...input, ...response.output])
    next = response.previous_response_id
  }
  return turns.reverse().flat()
}

/**
 * Makes a function that returns what an item refers to, or the item itself. It looks at each response once, and counts what
 * the items that it finds have together. @param context where they are
 * @returns the function, which takes an item and its place for errors @throws OrielError `not_found`, `invalid`
 */
export function resolver(context: Stored) {
  const known = new Map<string, Promise<ReadonlyMap<unknown, StoredItem>>>()
  let values = 0
  let characters = 0
  return async (item: StoredItem, param: string): Promise<StoredItem> => {
    const { type, id } = item
    if (type !== 'item_reference' || typeof id !== 'string') return item
    const [, answer = ''] = /^[a-z]+_(.+)-\w+$/.exec(id) ?? []
    const items = known.get(answer) ?? itemsById(answer, context)
    known.set(answer, items)
    const found = (await items).get(id)
    if (found === undefined)
      throw new OrielError(
        'not_found',
        `${param}.id is the id of no stored item. Items of a response are stored unless it is created with store: false.`,
        { param: `${param}.id`, code: 'item_not_found' },
      )
    for (const [, inner] of valuesIn(found)) {
      values++
      if (typeof inner === 'string') characters += inner.length
      if (values > mostValues || characters > mostCharacters) throw tooLong(param)
    }
    return found
  }
}

const tooLong = (param: string): OrielError =>
  new OrielError(
    'invalid',
    `The conversation has more than ${mostMessages} items, more than ${mostValues} values, or more than ${mostCharacters} characters in items that it refers to: send the part of it that matters as input.`,
    { param, code: 'conversation_too_long' },
  )

/** The ids of a response's items are made from its own: `msg_0b1c…-2`. */
export const itemId = (prefix: string, answer: string, place: string | number) => `${prefix}_${answer}-${place}`

export const responseId = (answer: string) => `resp_${answer}`

/** The items of a response and of its request. Of those with the same id the first counts. */
async function itemsById(answer: string, { responses, account }: Stored): Promise<ReadonlyMap<unknown, StoredItem>> {
  const stored = await responses.get(responseId(answer), { account })
  const items = [...(stored?.input ?? []), ...(stored?.response.output ?? [])]
  return new Map(items.toReversed().map((item) => [item.id, item]))
}

/** A stored item was valid when it came, and is parsed again because the store has JSON. */
const parsed = (stored: StoredItem): ResponsesItem => item.parse(stored)
