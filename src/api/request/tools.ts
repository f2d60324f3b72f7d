import { z } from 'zod'
import { type CallableTool, type Calling, noArguments, type Settings } from '../../deployments/index.ts'
import { invalidValue, optional } from './validation.ts'

const functionName = z.string().regex(/^[\w.-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, ., _ or -' })

/** Functions of a request together. A list has at most 128, but it may be one of namespaces, which have as many each. */
export const mostTools = 1024

/** The name of a function where it is chosen. The error of one that does not exist repeats it. */
export const chosenName = z.string().max(256)

export const argumentsSchema = z.record(z.string(), z.unknown())

export const functionFields = {
  name: functionName,
  description: z.string().nullish(),
  parameters: argumentsSchema.nullish(),
  strict: z.boolean().nullish(),
}

const tool = z.object({ type: z.literal('function'), function: z.object(functionFields) })

const named = z.object({ type: z.literal('function'), function: z.object({ name: chosenName }) })

const toolChoice = z.union([
  // Fireworks' name for required.
  z.enum(['none', 'auto', 'required', 'any']),
  named,
  z.object({
    type: z.literal('allowed_tools'),
    allowed_tools: z.object({ mode: z.enum(['auto', 'required']), tools: z.array(named).max(mostTools) }),
  }),
])

export const toolParameters = {
  tools: optional(z.array(tool).max(128), 'Functions that the model may call.'),
  tool_choice: optional(
    toolChoice,
    'Whether the model calls functions: none, auto, required, or one function by name.',
  ),
  parallel_tool_calls: optional(z.boolean(), 'Whether one answer may have several calls. Default: true.'),
}

/** What OpenAI had before tools, and older clients still send. */
export const functionParameters = {
  functions: optional(z.array(z.object(functionFields)).max(128), 'Older form of tools.'),
  function_call: optional(
    z.union([z.enum(['none', 'auto']), z.object({ name: chosenName })]),
    'Older form of tool_choice: none, auto, or one function by name.',
  ),
}

/** Calls of one message. Each result looks among them for its own. */
export const mostCalls = 128

export const callParameters = z.object({
  id: z.string(),
  type: z.literal('function').optional(),
  function: z.object({ name: z.string(), arguments: z.string() }),
})

type ToolParameters = z.output<z.ZodObject<typeof toolParameters & typeof functionParameters>>

/** The tools of a chat, and how they may be called. @throws OrielError `invalid` */
export function readTools(body: ToolParameters): { tools: CallableTool[]; calling: Calling } {
  const { tools, tool_choice: choice, parallel_tool_calls: parallel, functions, function_call: call } = body
  if (functions != null) {
    if (tools != null) throw invalidValue('functions', 'functions and tools are both present: send tools.')
    const only = typeof call === 'object' && call !== null ? [call.name] : null
    const mode = only === null ? (call as string | null | undefined) : 'required'
    const given = functions.map((one, index) => ({ ...one, param: `functions[${index}].parameters` }))
    return chooseTools(given, mode ?? 'auto', only, false, { list: 'functions', choice: 'function_call' })
  }
  const asked = typeof choice === 'object' && choice !== null ? choice : { type: choice ?? 'auto' }
  const only = 'allowed_tools' in asked ? asked.allowed_tools.tools : 'function' in asked ? [asked] : null
  const mode = 'allowed_tools' in asked ? asked.allowed_tools.mode : 'function' in asked ? 'required' : asked.type
  return chooseTools(functionsOf(tools), mode, only?.map((one) => one.function.name) ?? null, parallel)
}

/** Tools whose function is a field of its own. */
export const functionsOf = (tools: readonly { function: Omit<GivenTool, 'param'> }[] | null | undefined): GivenTool[] =>
  (tools ?? []).map((one, index) => ({ ...one.function, param: `tools[${index}].function.parameters` }))

/** @property param the path of its parameters, for errors */
export type GivenTool = Omit<z.output<typeof tool>['function'], 'strict'> & {
  param: string
  strict?: boolean | null | undefined
}

/**
 * Narrows the tools to those that `tool_choice` allows.
 * @param mode `auto`, `none`, or any of the names of a mode in which the model must call
 * @param only names of the tools that may be called; null: all
 * @param words what the protocol calls them, for errors
 * @throws OrielError if `tool_choice` names a tool that is not present
 */
export function chooseTools(
  given: readonly GivenTool[],
  mode: string,
  only: readonly string[] | null,
  parallel: boolean | null | undefined,
  words = { list: 'tools', choice: 'tool_choice' },
): { tools: CallableTool[]; calling: Calling } {
  if (given.length > mostTools)
    throw invalidValue(
      words.list,
      `${words.list} has ${given.length} functions, those of namespaces among them; at most ${mostTools} are allowed.`,
    )
  const tools = given.map(({ name, description, parameters, param, strict }) => ({
    name,
    description: description ?? undefined,
    parameters: parameters ?? noArguments,
    param,
    strict: strict ?? false,
  }))
  const names = new Set<string>()
  for (const { name } of tools) {
    if (names.has(name))
      throw invalidValue(words.list, `${words.list} has two functions named ${JSON.stringify(name)}.`)
    names.add(name)
  }
  const missing = only?.find((name) => !names.has(name))
  if (missing !== undefined)
    throw invalidValue(
      words.choice,
      `${words.choice} names ${JSON.stringify(missing)}, which is not in ${words.list}; ${words.list} has ${list([...names])}.`,
    )
  const called = mode === 'auto' || mode === 'none' ? mode : 'forced'
  const chosen = new Set(only)
  const allowed = only === null ? tools : tools.filter(({ name }) => chosen.has(name))
  if (called === 'forced' && allowed.length === 0)
    throw invalidValue(
      words.choice,
      `${words.choice} requires a call, but ${tools.length === 0 ? `there are no ${words.list}` : `allows none of the ${words.list}`}.`,
    )
  return { tools: allowed, calling: { mode: called, parallel: parallel ?? true } }
}

/**
 * An answer can follow one grammar only.
 * @param param parameter that sets the other grammar
 * @param choice parameter that requires a call
 * @throws OrielError
 */
export function refuseBoth({ mode }: Calling, { sampling }: Settings, param: string, choice = 'tool_choice'): void {
  if (mode === 'forced' && sampling.grammar != null)
    throw invalidValue(param, `${param} and a ${choice} that requires a call cannot be combined: send one of them.`)
}

const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '))
