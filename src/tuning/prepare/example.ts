import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import type { Reader } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type ChatMessage, type ContentPart, noArguments, type Tool } from '../../prompt/index.ts'
import { type ExampleLine, exampleLine, files } from '../contract.ts'

/** An example as a model's template takes it. */
export interface Example {
  readonly messages: readonly ChatMessage[]
  readonly tools: readonly Tool[]
  /** Indexes of the messages that are learned. */
  readonly answers: readonly number[]
  /** Files, by their paths in the folder. Messages name them by their index. */
  readonly images: readonly string[]
}

/** @throws OrielError `invalid` that says which part of the line is wrong, without its texts */
export function readExample(line: string): Example {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    throw new OrielError('invalid', 'The line is not JSON.')
  }
  const { success, data, error } = exampleLine.safeParse(json)
  if (!success) {
    const [issue] = error.issues
    throw new OrielError('invalid', issue?.message ?? 'The example is not as it must be.', {
      param: z.core.toDotPath(issue?.path ?? []),
    })
  }
  return exampleOf(data)
}

/** The number of its line in the file that its author has; undefined if it is not told. */
export function authorsLine(line: string): number | undefined {
  const [, number] = /^\{"line":(\d+)[,}]/.exec(line) ?? []
  return number === undefined ? undefined : Number(number)
}

function exampleOf({ messages, tools = [] }: ExampleLine): Example {
  const images: string[] = []
  const partOf = (part: ExampleLine['messages'][number]['content'][number], param: string): ContentPart => {
    if (part.type === 'text') return { kind: 'text', text: part.text }
    if (!imagePath.test(part.image)) throw new OrielError('invalid', 'It is no image of the folder.', { param })
    return { kind: 'image', attachment: images.push(part.image) - 1 }
  }
  return {
    messages: messages.map(({ role, content, tool_calls: calls, tool_call_id: callId }, turn) => ({
      role,
      content: content.map((part, at) => partOf(part, `messages[${turn}].content[${at}]`)),
      ...(calls === undefined
        ? {}
        : { calls: calls.map((call, at) => callOf(call, at, `messages[${turn}].tool_calls[${at}]`)) }),
      ...(callId === undefined ? {} : { callId }),
    })),
    tools: tools.map((tool, at) => toolOf(tool, `tools[${at}]`)),
    answers: messages.flatMap(({ role, weight = 1 }, turn) => (role === 'assistant' && weight === 1 ? [turn] : [])),
    images,
  }
}

/** They are named by their content, directly in the folder of images. */
const imagePath = new RegExp(`^${files.images}/[\\w-][\\w.-]*$`)

const toolCall = z.object({
  id: z.string().optional(),
  function: z.object({ name: z.string(), arguments: z.union([z.string(), z.record(z.string(), z.unknown())]) }),
})

function callOf(value: unknown, at: number, param: string) {
  const { success, data } = toolCall.safeParse(value)
  if (!success) throw new OrielError('invalid', 'It is no call of a function.', { param })
  const { id = `call_${at}`, function: called } = data
  const given = typeof called.arguments === 'string' ? called.arguments : JSON.stringify(called.arguments)
  return { id, name: called.name, arguments: given }
}

const toolShape = z.object({
  function: z.object({
    name: z.string(),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
  }),
})

function toolOf(value: unknown, param: string): Tool {
  const { success, data } = toolShape.safeParse(value)
  if (!success) throw new OrielError('invalid', 'It is no function.', { param })
  const { name, description, parameters } = data.function
  return { name, description: description ?? undefined, parameters: parameters ?? noArguments }
}

/**
 * Loads the images of an example.
 * @param folder of the job
 * @param signal frees their pixels when it aborts
 * @throws OrielError about the first that cannot be read
 */
export async function loadImages(
  { images, messages }: Example,
  folder: string,
  reader: Reader,
  signal: AbortSignal,
): ReturnType<Reader['load']> {
  const params = messages.flatMap(({ content }, turn) =>
    content.flatMap(({ kind }, at) => (kind === 'image' ? [`messages[${turn}].content[${at}]`] : [])),
  )
  const sources = await Promise.all(
    images.map(async (image, index) => {
      const param = params[index] ?? 'messages'
      const bytes = await readFile(path.join(folder, image)).catch((cause: unknown) => {
        throw new OrielError('invalid', 'The image is missing.', { param, cause })
      })
      return { kind: 'image', bytes, param, detail: 'auto' } as const
    }),
  )
  return reader.load(sources, signal)
}
