import { z } from 'zod'
import type { RequestContext } from '../dialects/dialect.ts'
import { chosenName, functionFields, type GivenTool, mostTools } from '../request/tools.ts'

const functionTool = z.object({ type: z.literal('function'), ...functionFields })

/** A tool whose input is a text and not JSON. */
const customTool = z.object({
  type: z.literal('custom'),
  name: functionFields.name,
  description: z.string().nullish(),
  format: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('text') }),
      z.object({ type: z.literal('grammar'), syntax: z.enum(['lark', 'regex']), definition: z.string() }),
    ])
    .nullish(),
})

/** A group of tools, such as those of one MCP server. */
const namespaceTool = z.object({
  type: z.literal('namespace'),
  name: functionFields.name,
  description: z.string().nullish(),
  tools: z.array(z.discriminatedUnion('type', [functionTool, customTool])).max(128),
})

/** Tools that run on OpenAI's servers, or whose input only its models know. */
const otherTool = z.object({
  type: z.enum([
    'web_search',
    'web_search_2025_08_26',
    'web_search_preview',
    'web_search_preview_2025_03_11',
    'file_search',
    'code_interpreter',
    'image_generation',
    'mcp',
    'computer',
    'computer_use',
    'computer_use_preview',
    'local_shell',
    'shell',
    'apply_patch',
    'tool_search',
    'programmatic_tool_calling',
  ]),
})

export const tool = z.discriminatedUnion('type', [functionTool, customTool, namespaceTool, otherTool], {
  error: ({ input }) =>
    typeof input === 'object'
      ? 'must be "function", "custom", "namespace", or the type of a tool of OpenAI, such as "web_search"'
      : undefined,
})

const named = z.object({
  type: z.enum(['function', 'custom']),
  name: chosenName,
  namespace: chosenName.nullish(),
})

export const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.discriminatedUnion('type', [
    named,
    z.object({
      type: z.literal('allowed_tools'),
      mode: z.enum(['auto', 'required']).default('auto'),
      tools: z.array(z.discriminatedUnion('type', [named, otherTool])).max(mostTools),
    }),
  ]),
])

const shownFunction = z.strictObject({
  type: z.literal('function'),
  name: z.string(),
  description: z.string().nullable(),
  parameters: z.record(z.string(), z.unknown()).nullable(),
  strict: z.boolean(),
})

const shownCustom = z.strictObject({
  type: z.literal('custom'),
  name: z.string(),
  description: z.string().optional(),
  format: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('grammar'), syntax: z.enum(['lark', 'regex']), definition: z.string() }),
  ]),
})

/** A tool as a response repeats it. */
export const shownTool = z.discriminatedUnion('type', [
  shownFunction,
  shownCustom,
  z.strictObject({
    type: z.literal('namespace'),
    name: z.string(),
    description: z.string(),
    tools: z.array(z.discriminatedUnion('type', [shownFunction, shownCustom])),
  }),
])

type RequestTool = z.output<typeof tool>
type OfferedTool = z.output<typeof functionTool> | z.output<typeof customTool>

/** A tool that the model is offered. All are functions for it: the input of a custom one is its only argument. */
export interface Offered {
  tool: OfferedTool
  /** The namespace that it is in. */
  namespace: string | null
}

/** The name by which the model knows a tool. */
export const offeredName = (name: string, namespace: string | null | undefined): string =>
  namespace == null ? name : `${namespace}__${name}`

/** The tools that can be offered, by their names for the model. */
export const offeredTools = (tools: readonly RequestTool[] | null | undefined): Map<string, Offered> =>
  new Map(placed(tools).map(({ tool, namespace }) => [offeredName(tool.name, namespace), { tool, namespace }]))

/** The tools that the model was offered, as a response repeats them. */
export const shownTools = (tools: readonly RequestTool[] | null | undefined): z.output<typeof shownTool>[] =>
  (tools ?? []).flatMap((tool): z.output<typeof shownTool>[] => {
    if (tool.type === 'function' || tool.type === 'custom') return [shown(tool)]
    if (tool.type !== 'namespace') return []
    return [{ ...tool, description: tool.description ?? '', tools: tool.tools.map(shown) }]
  })

function shown(tool: OfferedTool): z.output<typeof shownFunction> | z.output<typeof shownCustom> {
  const { type, name, description } = tool
  if (type === 'custom')
    return { type, name, ...(description == null ? {} : { description }), format: tool.format ?? { type: 'text' } }
  // OpenAI's default. A call follows its schema either way.
  return {
    type,
    name,
    description: description ?? null,
    parameters: tool.parameters ?? null,
    strict: tool.strict ?? true,
  }
}

/** The tools that can be offered as functions. What cannot be is noted. @throws OrielError `invalid` from a strict server */
export function readTools(tools: readonly RequestTool[] | null | undefined, context: RequestContext): GivenTool[] {
  for (const [index, tool] of (tools ?? []).entries())
    if (!('name' in tool))
      context.ignore(`tools[${index}]`, `is ${JSON.stringify(tool.type)}, which this server cannot offer to a model`)
  return placed(tools).map(({ tool, namespace, place }) => {
    const name = offeredName(tool.name, namespace)
    if (tool.type === 'function') return { ...tool, name, param: `${place}.parameters` }
    const { format, description } = tool
    if (format?.type !== 'grammar') return { name, description, parameters: textInput, param: place }
    context.ignore(`${place}.format`, 'is a grammar, which the model is told but not held to')
    const told = `Its input follows this ${format.syntax} grammar:\n${format.definition}`
    return { name, description: description ? `${description}\n${told}` : told, parameters: textInput, param: place }
  })
}

type ToolChoice = z.output<typeof toolChoice>

/** @returns the mode, and the names of the tools that may be called; null: all */
export function readChoice(choice: ToolChoice | null | undefined): { mode: string; only: string[] | null } {
  if (choice == null || typeof choice === 'string') return { mode: choice ?? 'auto', only: null }
  const allowed = choice.type === 'allowed_tools' ? choice.tools : [choice]
  const only = allowed.flatMap((one) => ('name' in one ? offeredName(one.name, one.namespace) : []))
  return { mode: choice.type === 'allowed_tools' ? choice.mode : 'required', only }
}

/** The tools that can be offered, those of namespaces too, each with its path in the request. */
const placed = (tools: readonly RequestTool[] | null | undefined): (Offered & { place: string })[] =>
  (tools ?? []).flatMap((tool, index): (Offered & { place: string })[] => {
    const place = `tools[${index}]`
    if (tool.type === 'function' || tool.type === 'custom') return [{ tool, namespace: null, place }]
    if (tool.type !== 'namespace') return []
    return tool.tools.map((inner, at) => ({ tool: inner, namespace: tool.name, place: `${place}.tools[${at}]` }))
  })

/** JSON Schema for the only argument of a custom tool. */
const textInput = {
  type: 'object',
  properties: { input: { type: 'string' } },
  required: ['input'],
  additionalProperties: false,
}
