import type { Settings } from './conversation.ts'

export interface Parameter {
  readonly name: string
  readonly label: string
  readonly hint: string
  readonly least: number
  readonly most: number
  readonly whole: boolean
}

const number = (name: string, label: string, hint: string, least: number, most: number): Parameter => ({
  ...{ name, label, hint, least, most },
  whole: false,
})

const whole = (name: string, label: string, hint: string, least: number, most: number): Parameter => ({
  ...number(name, label, hint, least, most),
  whole: true,
})

/** Numbers of a request, in the order of the panel. What is left empty the model's file decides. */
export const parameters: readonly Parameter[] = [
  number('temperature', 'Temperature', '0 takes the likeliest word always', 0, 2),
  whole('max_tokens', 'Longest answer', 'in tokens', 1, 1_000_000),
  number('top_p', 'Top P', 'share of the likeliest words', 0, 1),
  whole('top_k', 'Top K', 'number of the likeliest words', 0, 1000),
  number('min_p', 'Min P', 'share of the likeliest one', 0, 1),
  whole('seed', 'Seed', 'the same seed, the same answer', 0, 4_294_967_295),
  number('repetition_penalty', 'Repetition penalty', '1: none', 0, 2),
  number('frequency_penalty', 'Frequency penalty', '', -2, 2),
  number('presence_penalty', 'Presence penalty', '', -2, 2),
]

/** undefined: nothing is wrong with what is typed. */
export function problemOf(parameter: Parameter, typed: string): string | undefined {
  if (typed.trim() === '') return undefined
  const { least, most, whole } = parameter
  const value = numberOf(parameter, typed)
  if (Number.isFinite(value) && value >= least && value <= most && (!whole || Number.isInteger(value))) return undefined
  return `${whole ? 'A whole number' : 'A number'} from ${least} to ${most}.`
}

export function schemaProblem(typed: string): string | undefined {
  const schema = parsed(typed)
  if (schema === undefined) return undefined
  if (schema instanceof SyntaxError) return `This is not JSON: ${schema.message}`
  return isObject(schema) ? undefined : 'A JSON Schema is an object.'
}

export function toolsProblem(typed: string): string | undefined {
  const tools = parsed(typed)
  if (tools === undefined) return undefined
  if (tools instanceof SyntaxError) return `This is not JSON: ${tools.message}`
  if (!Array.isArray(tools)) return 'Tools are a list: [{"type": "function", "function": {…}}].'
  const at = tools.findIndex((tool) => !isObject(tool) || !isObject(tool.function) || !tool.function.name)
  return at === -1 ? undefined : `Tool ${at + 1} has no function with a name.`
}

export const settingsProblem = (settings: Settings): string | undefined =>
  parameters
    .flatMap((parameter) => {
      const problem = problemOf(parameter, settings.parameters[parameter.name] ?? '')
      return problem === undefined ? [] : `${parameter.label}: ${problem}`
    })
    .at(0) ??
  schemaProblem(settings.schema) ??
  toolsProblem(settings.tools)

/** The part of a request that the settings decide, which have no problem. */
export function bodyOf({ parameters: typed, schema, tools }: Settings): Record<string, unknown> {
  const numbers = parameters.flatMap((parameter) => {
    const value = typed[parameter.name]?.trim() ?? ''
    return value === '' ? [] : [[parameter.name, numberOf(parameter, value)]]
  })
  const thinking = typed.enable_thinking
  return {
    ...Object.fromEntries(numbers),
    ...(thinking === 'true' || thinking === 'false' ? { enable_thinking: thinking === 'true' } : {}),
    ...(schema.trim() === ''
      ? {}
      : { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: JSON.parse(schema) } } }),
    // One call at a time: the next message is its result.
    ...(tools.trim() === '' ? {} : { tools: JSON.parse(tools), parallel_tool_calls: false }),
  }
}

/** The keys for numbers of many phones have a comma and no point. In a whole number a comma would mean thousands to some. */
const numberOf = ({ whole }: Parameter, typed: string): number => Number(whole ? typed : typed.replace(',', '.'))

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** undefined: nothing is typed. */
function parsed(typed: string): unknown {
  if (typed.trim() === '') return undefined
  try {
    return JSON.parse(typed)
  } catch (error) {
    return error
  }
}
