import { OrielError } from '../../errors.ts'
import { type Still, stillOfUrl } from '../../media/index.ts'
import { allowedFields, fail, fieldName, found, isObject, listAt, objectAt, textAt } from './fields.ts'
import { readCalls, readTools, type ToolCall } from './tools.ts'

/** A chat from which a model learns the answers. */
export interface Example {
  readonly messages: readonly ExampleMessage[]
  /** In the form of OpenAI's API. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[]
}

export interface ExampleMessage {
  readonly role: Role
  readonly content: readonly ExamplePart[]
  /** Of an answer: 0, it is not learned. */
  readonly weight?: 0 | 1
  readonly tool_calls?: readonly ToolCall[]
  readonly tool_call_id?: string
}

export type ExamplePart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: Still }

/** What an example may have: what a request may, since examples are prepared as requests are. */
export interface ExampleLimits {
  /** Of its line. */
  readonly lineBytes: number
  readonly images: number
  /** Of one picture. */
  readonly pixels: number
  /** Of all its pictures. */
  readonly totalPixels: number
}

/** A sentence about the fields of a line that is no example. */
const foundFields = (names: readonly string[]): string =>
  names.length === 0 ? 'The line has no fields.' : `Found the fields ${allowedFields(names)}.`

const roles = ['system', 'user', 'assistant', 'tool'] as const
type Role = (typeof roles)[number]

const mostMessages = 1000
/** Of one message. */
const mostParts = 1000
const messageFields = ['role', 'content', 'name', 'weight', 'tool_calls', 'tool_call_id']

/**
 * Reads one line of a dataset. Fields beside `messages` and `tools` are the user's own and are left out.
 * @param json what the line says
 * @throws OrielError `invalid` whose `param` names the part, and whose message says what was found and what is allowed
 */
export function readExample(json: unknown, limits: ExampleLimits): Example {
  const line = objectAt(json, 'the line')
  if (line.messages === undefined) throw fail('messages', `is missing. ${foundFields(Object.keys(line))}`)
  const list = listAt(line.messages, 'messages')
  if (list.length === 0 || list.length > mostMessages)
    throw fail('messages', `has ${list.length} messages; 2 to ${mostMessages} are allowed.`)
  // Fireworks weighs examples by it.
  if (line.weight !== undefined && line.weight !== null && line.weight !== 1)
    throw fail(
      'weight',
      `is ${found(line.weight)}; examples have the weight 1. A message of the assistant may have the weight 0, and is not learned then.`,
    )
  const pictures = new PictureBudget(limits)
  const messages = list.map((message, at) => readMessage(message, `messages[${at}]`, pictures))
  checkTurns(messages)
  const tools = line.tools === undefined || line.tools === null ? undefined : readTools(line.tools)
  return { messages, ...(tools !== undefined && { tools }) }
}

function readMessage(given: unknown, param: string, pictures: PictureBudget): ExampleMessage {
  const message = objectAt(given, param)
  const stranger = Object.keys(message).find((name) => !messageFields.includes(name))
  if (stranger !== undefined)
    throw fail(`${param}.${fieldName(stranger)}`, `is not known. A message may have ${allowedFields(messageFields)}.`)
  const role = roleAt(message.role, `${param}.role`)
  const weight = weightAt(message.weight, role, `${param}.weight`)
  const calls =
    message.tool_calls === undefined || message.tool_calls === null
      ? undefined
      : readCalls(message.tool_calls, role, `${param}.tool_calls`)
  const content = readContent(
    message.content,
    { role, param: `${param}.content`, mayBeEmpty: calls !== undefined },
    pictures,
  )
  const id = message.tool_call_id
  if (role === 'tool' ? typeof id !== 'string' || id === '' : id !== undefined && id !== null)
    throw fail(
      `${param}.tool_call_id`,
      role === 'tool'
        ? `is ${found(id)}; it must be the id of the call that is answered.`
        : 'is for messages of the role tool.',
    )
  return {
    role,
    content,
    ...(weight !== undefined && { weight }),
    ...(calls !== undefined && { tool_calls: calls }),
    ...(role === 'tool' && { tool_call_id: String(id) }),
  }
}

function roleAt(given: unknown, param: string): Role {
  // OpenAI's newer name.
  const role = given === 'developer' ? 'system' : given
  const known = roles.find((one) => one === role)
  if (known === undefined) throw fail(param, `is ${found(given)}; allowed are ${roles.join(', ')}.`)
  return known
}

function weightAt(given: unknown, role: Role, param: string): 0 | 1 | undefined {
  if (given === undefined || given === null) return undefined
  if (given !== 0 && given !== 1) throw fail(param, `is ${found(given)}; 0 and 1 are allowed.`)
  if (role !== 'assistant') throw fail(param, `is for messages of the assistant; this one is of the ${role}.`)
  return given
}

interface ContentPlace {
  readonly role: Role
  readonly param: string
  /** An answer that calls tools may have no text. */
  readonly mayBeEmpty: boolean
}

function readContent(given: unknown, place: ContentPlace, pictures: PictureBudget): ExamplePart[] {
  const { param, mayBeEmpty } = place
  if (typeof given === 'string') return given === '' && mayBeEmpty ? [] : [{ type: 'text', text: textAt(given, param) }]
  if (mayBeEmpty && (given === undefined || given === null)) return []
  if (!Array.isArray(given)) throw fail(param, `is ${found(given)}; it must be a text or a list of parts.`)
  if (given.length === 0 && !mayBeEmpty) throw fail(param, 'is an empty list; it must have a part at least.')
  if (given.length > mostParts) throw fail(param, `has ${given.length} parts; ${mostParts} are allowed.`)
  return given.map((part, at) => readPart(part, { ...place, param: `${param}[${at}]` }, pictures))
}

function readPart(given: unknown, { role, param }: ContentPlace, pictures: PictureBudget): ExamplePart {
  const part = objectAt(given, param)
  if (part.type === 'text') return { type: 'text', text: textAt(part.text, `${param}.text`) }
  if (part.type !== 'image_url') throw fail(`${param}.type`, `is ${found(part.type)}; allowed are text and image_url.`)
  if (role === 'assistant' || role === 'system')
    throw fail(
      param,
      `is a picture in a message of the ${role}; pictures are allowed in those of the user and of tools.`,
    )
  // Its `detail` says nothing about the picture: examples are prepared as requests without one.
  const url = isObject(part.image_url) ? part.image_url.url : part.image_url
  const at = isObject(part.image_url) ? `${param}.image_url.url` : `${param}.image_url`
  if (typeof url !== 'string') throw fail(at, `is ${found(url)}; it must be a data URL with a PNG or JPEG as base64.`)
  if (!/^data:/i.test(url))
    throw fail(
      at,
      `is ${/^https?:/i.test(url) ? 'an http URL' : 'no data URL'}; a dataset has its pictures itself, as data:image/png;base64,… or data:image/jpeg;base64,….`,
    )
  return { type: 'image', image: pictures.read(url, at) }
}

/** The pictures of one example. */
class PictureBudget {
  readonly #limits: ExampleLimits
  #images = 0
  #pixels = 0

  constructor(limits: ExampleLimits) {
    this.#limits = limits
  }

  /** @throws OrielError `invalid` */
  read(url: string, param: string): Still {
    const { images, pixels, totalPixels } = this.#limits
    if (++this.#images > images) throw fail(param, `is picture ${this.#images} of the example; ${images} are allowed.`)
    const still = orAt(param, () => stillOfUrl(url))
    const count = still.width * still.height
    this.#pixels += count
    if (count > pixels)
      throw fail(
        param,
        `is too large: ${still.width} x ${still.height} pixels; ${pixels} pixels are allowed for a picture.`,
      )
    if (this.#pixels > totalPixels)
      throw fail(
        param,
        `is too large: ${this.#pixels} pixels with those before it; ${totalPixels} are allowed for an example.`,
      )
    return still
  }
}

function orAt<T>(param: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof OrielError)) throw error
    // Its first sentence is what was found; the others are for requests.
    throw new OrielError('invalid', `${param}: ${error.message.replace(/ Send the image as .*$/s, '')}`, {
      param,
      code: error.code,
    })
  }
}

/** What all messages together must be. */
function checkTurns(messages: readonly ExampleMessage[]): void {
  const last = messages.length - 1
  if (messages[last]?.role !== 'assistant')
    throw fail(
      `messages[${last}].role`,
      `is ${messages[last]?.role}; the last message must be of the assistant, which is learned.`,
    )
  if (!messages.some(isLearned))
    throw fail('messages', 'have no answer to learn: the weight of each of the assistant is 0.')
  const system = messages.findIndex(({ role }, at) => role === 'system' && at > 0)
  if (system > 0) throw fail(`messages[${system}].role`, 'is system; only the first message may be.')
  const calls = new Set<string>()
  for (const [at, { tool_calls, tool_call_id }] of messages.entries()) {
    for (const { id } of tool_calls ?? []) calls.add(id)
    if (tool_call_id !== undefined && !calls.has(tool_call_id))
      throw fail(`messages[${at}].tool_call_id`, `is ${found(tool_call_id)}; no call before it has this id.`)
  }
}

/** Whether a message is an answer that is learned. */
export const isLearned = ({ role, weight }: ExampleMessage): boolean => role === 'assistant' && weight !== 0

/** Reads a line as JSON. @throws OrielError `invalid` without anything of its text, as logs may have it */
export function parseLine(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // The rest of the message quotes the line.
    const message = error instanceof Error ? error.message : ''
    const [, position] = /position (\d+)/.exec(message) ?? []
    if (/end of JSON/.test(message)) throw fail('the line', 'is not JSON: it ends too early.')
    throw fail(
      'the line',
      position === undefined ? 'is not JSON.' : `is not JSON: at character ${Number(position) + 1}.`,
    )
  }
}
