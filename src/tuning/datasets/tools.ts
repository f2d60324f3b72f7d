import { isBeyondWalking, parseJson } from '../../json.ts'
import { fail, found, isObject, listAt, objectAt, textAt } from './fields.ts'

/** A call of a function, as OpenAI's API has it. */
export interface ToolCall {
  readonly id: string
  readonly type: 'function'
  /** Its arguments are JSON. */
  readonly function: { readonly name: string; readonly arguments: string }
}

const mostTools = 128
const mostCalls = 128

/** The functions that an example offers. @throws OrielError `invalid` */
export function readTools(given: unknown): Readonly<Record<string, unknown>>[] {
  const tools = listAt(given, 'tools')
  if (tools.length > mostTools) throw fail('tools', `has ${tools.length} tools; ${mostTools} are allowed.`)
  if (isBeyondWalking(tools)) throw fail('tools', 'is nested too deep, or has too many parts.')
  return tools.map((one, at) => {
    const param = `tools[${at}]`
    const tool = objectAt(one, param)
    if (tool.type !== 'function') throw fail(`${param}.type`, `is ${found(tool.type)}; function is allowed.`)
    const described = objectAt(tool.function, `${param}.function`)
    textAt(described.name, `${param}.function.name`)
    for (const [name, isRight] of [
      ['description', typeof described.description === 'string'],
      ['parameters', isObject(described.parameters)],
    ] as const)
      if (described[name] !== undefined && described[name] !== null && !isRight)
        throw fail(
          `${param}.function.${name}`,
          `is ${found(described[name])}; it must be ${name === 'parameters' ? 'an object' : 'a text'}.`,
        )
    return tool
  })
}

/** The calls of an answer. @throws OrielError `invalid` */
export function readCalls(given: unknown, role: string, param: string): ToolCall[] {
  if (role !== 'assistant') throw fail(param, `are for messages of the assistant; this one is of the ${role}.`)
  const calls = listAt(given, param)
  if (calls.length === 0 || calls.length > mostCalls)
    throw fail(param, `has ${calls.length} calls; 1 to ${mostCalls} are allowed.`)
  return calls.map((one, at) => {
    const here = `${param}[${at}]`
    const call = objectAt(one, here)
    if (call.type !== undefined && call.type !== 'function')
      throw fail(`${here}.type`, `is ${found(call.type)}; function is allowed.`)
    const called = objectAt(call.function, `${here}.function`)
    const { arguments: values } = called
    const text = isObject(values) ? JSON.stringify(values) : values
    if (typeof text !== 'string' || !isObject(parseJson(text)))
      throw fail(`${here}.function.arguments`, `is ${found(values)}; it must be the JSON of an object.`)
    if (isBeyondWalking(parseJson(text)))
      throw fail(`${here}.function.arguments`, 'is nested too deep, or has too many parts.')
    return {
      id: textAt(call.id, `${here}.id`),
      type: 'function' as const,
      function: { name: textAt(called.name, `${here}.function.name`), arguments: text },
    }
  })
}
