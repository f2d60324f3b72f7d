import { z } from 'zod'
import type { RequestContext } from '../dialects/dialect.ts'
import { argumentsSchema, type GivenTool } from '../request/tools.ts'

/** Anthropic's names are longer than OpenAI's. */
const name = z.string().regex(/^[\w.-]{1,128}$/, { error: 'must be 1 to 128 letters, digits, ., _ or -' })

const ownTool = z.object({
  type: z.literal('custom').nullish(),
  name,
  description: z.string().nullish(),
  input_schema: argumentsSchema,
  strict: z.boolean().nullish(),
})

/** A tool that Anthropic defines, by its name and mostly a date: `bash_20250124`. */
const definedTool = z.looseObject({
  type: z.string().regex(/^[a-z0-9_]{1,64}_\d{8}$|^mcp_toolset$|^tool_search_tool_(bm25|regex)$/, {
    error: 'must be "custom", or one of the tools that Anthropic defines, such as "bash_20250124"',
  }),
  name: name.optional(),
})

export const tool = z.union([ownTool, definedTool])

type RequestTool = z.output<typeof tool>

/**
 * The functions that the model is offered: the client's own, and the tools of Anthropic that the client runs.
 * Those that Anthropic's servers run cannot be offered.
 */
export const readTools = (tools: readonly RequestTool[] | null | undefined, context: RequestContext): GivenTool[] =>
  (tools ?? []).flatMap((tool, index) => {
    const place = `tools[${index}]`
    const offered = isOwn(tool) ? { ...tool, parameters: tool.input_schema } : functionOf(tool)
    if (offered !== undefined) return { ...offered, param: `${place}.input_schema` }
    context.ignore(place, `is ${JSON.stringify(tool.type)}, which this server cannot offer to a model`)
    return []
  })

const isOwn = (tool: RequestTool): tool is z.output<typeof ownTool> => tool.type == null || tool.type === 'custom'

/** Claude knows these tools by training. Other models are told what Anthropic documents about them. */
function functionOf({ type, name }: z.output<typeof definedTool>): Omit<GivenTool, 'param'> | undefined {
  const [, family = '', version = ''] = /^(\w+)_(\d{8})$/.exec(type) ?? []
  switch (family) {
    case 'bash':
      return { name: name ?? 'bash', ...bash }
    case 'text_editor':
      return { name: name ?? 'str_replace_based_edit_tool', ...textEditor(version < '20250429') }
    case 'memory':
      return { name: name ?? 'memory', ...memory }
    default:
      return undefined
  }
}

const text = (description: string) => ({ type: 'string', description })

const bash = {
  description: 'Run a command in a bash session, which stays open between calls.',
  parameters: {
    type: 'object',
    properties: {
      command: text('The command to run.'),
      restart: { type: 'boolean', description: 'Whether to restart the session instead of running the command.' },
    },
    required: ['command'],
    additionalProperties: false,
  },
}

const file = {
  path: text('The path of the file or directory.'),
  view_range: {
    type: 'array',
    items: { type: 'integer' },
    description: 'view: the first and the last line to show, counted from 1; -1 is the end of the file.',
  },
  file_text: text('create: the content of the file.'),
  old_str: text('str_replace: the text to replace, which must occur exactly once.'),
  new_str: text('str_replace: the text in its place.'),
  insert_line: { type: 'integer', description: 'insert: the line after which to insert; 0 is the beginning.' },
  insert_text: text('insert: the text to insert.'),
}

const commandsOn = (commands: readonly string[], properties: object, required: readonly string[]) => ({
  type: 'object',
  properties: { command: { type: 'string', enum: commands }, ...properties },
  required: ['command', ...required],
  additionalProperties: false,
})

/** @param undoes whether it is of a version that can undo its last edit */
const textEditor = (undoes: boolean) => ({
  description: 'View, create and edit text files.',
  parameters: commandsOn(
    ['view', 'create', 'str_replace', 'insert', ...(undoes ? ['undo_edit'] : [])],
    undoes ? { ...file, new_str: text('str_replace: the text in its place; insert: the text to insert.') } : file,
    ['path'],
  ),
})

const memory = {
  description: 'Keep notes in files below /memories, which later conversations can read.',
  parameters: commandsOn(
    ['view', 'create', 'str_replace', 'insert', 'delete', 'rename'],
    { ...file, old_path: text('rename: the path until now.'), new_path: text('rename: the path from now on.') },
    [],
  ),
}
