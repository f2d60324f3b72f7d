import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import type { CallableTool, Calling, Settings } from '../answering/request.ts'

/** What the API allows as the name of a function. */
export const functionName = z.string().regex(/^[\w.-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, ., _ or -' })

/** JSON Schema of a function's arguments. */
export const argumentsSchema = z.record(z.string(), z.unknown())

const tool = z.object({
  type: z.literal('function'),
  function: z.object({
    name: functionName,
    description: z.string().nullish(),
    parameters: argumentsSchema.nullish(),
    strict: z.boolean().nullish(),
  }),
})

const named = z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) })

const toolChoice = z.union([
  // `any` is Fireworks' word for required.
  z.enum(['none', 'auto', 'required', 'any']),
  named,
  z.object({
    type: z.literal('allowed_tools'),
    allowed_tools: z.object({ mode: z.enum(['auto', 'required']), tools: z.array(named) }),
  }),
])

export const toolParameters = {
  tools: z.array(tool).max(128).nullish().describe('Functions that the model may call.'),
  tool_choice: toolChoice.nullish().describe('Whether it must: none, auto, required, or one of them by name.'),
  parallel_tool_calls: z.boolean().nullish().describe('Whether one answer may call several; true unless false.'),
}

export const callParameters = z.object({
  id: z.string(),
  type: z.literal('function').optional(),
  function: z.object({ name: z.string(), arguments: z.string() }),
})

type ToolParameters = z.output<z.ZodObject<typeof toolParameters>>

/** What a chat may call, and whether it must. */
export function readTools({ tools, tool_choice: choice, parallel_tool_calls: parallel }: ToolParameters): {
  tools: CallableTool[]
  calling: Calling
} {
  const given = (tools ?? []).map(({ function: { name, description, parameters } }, index) => ({
    name,
    description: description ?? undefined,
    parameters: parameters ?? noArguments,
    param: `tools[${index}].function.parameters`,
  }))
  const asked = typeof choice === 'object' && choice !== null ? choice : { type: choice ?? 'auto' }
  const only = 'allowed_tools' in asked ? asked.allowed_tools.tools : 'function' in asked ? [asked] : null
  const mode = 'allowed_tools' in asked ? asked.allowed_tools.mode : 'function' in asked ? 'required' : asked.type
  return chooseTools(given, {
    mode: mode === 'required' || mode === 'any' ? 'forced' : mode === 'none' ? 'none' : 'auto',
    only: only?.map((one) => one.function.name) ?? null,
    parallel: parallel ?? true,
  })
}

/** Of a function that says nothing of its arguments. */
export const noArguments = { type: 'object', properties: {}, additionalProperties: false }

/** Narrows the tools to those that a client allows. @throws OrielError where it chooses what it did not give */
export function chooseTools(
  tools: readonly CallableTool[],
  { mode, only, parallel }: Calling & { only: readonly string[] | null },
): { tools: CallableTool[]; calling: Calling } {
  const names = tools.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw refused('tools', `tools has two functions of the name ${JSON.stringify(twice)}.`)
  const missing = only?.find((name) => !names.includes(name))
  if (missing !== undefined)
    throw refused('tool_choice', `tool_choice names ${JSON.stringify(missing)}, and tools has ${list(names)}.`)
  if (mode === 'forced' && tools.length === 0)
    throw refused('tool_choice', 'tool_choice wants a call, and there are no tools.')
  const allowed = only === null ? [...tools] : tools.filter(({ name }) => only.includes(name))
  return { tools: allowed, calling: { mode, parallel } }
}

/** An answer is held to one grammar. @param param what says what the answer must be @throws OrielError */
export function refuseBoth({ mode }: Calling, { sampling }: Settings, param: string): void {
  if (mode === 'forced' && sampling.grammar != null)
    throw refused(param, `${param} says what the answer must be, and tool_choice wants a call: send one of them.`)
}

const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '))

const refused = (param: string, message: string): OrielError =>
  new OrielError('invalid', message, { param, code: 'invalid_value' })
