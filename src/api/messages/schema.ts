import { z } from 'zod'
import { ranges } from '../../deployments/index.ts'
import { mostMessages, text, textPart } from '../request/content.ts'
import { source, sourceAudio, sourceFile, sourceImage, sourceVideo } from '../request/files.ts'
import { jsonSchema } from '../request/json-schema.ts'
import { stopTexts } from '../request/parameters.ts'
import { chosenName } from '../request/tools.ts'
import { returnBoxes } from '../shapes/grounding.ts'
import { includeUsage } from '../shapes/included.ts'
import { tool } from './tools.ts'

const textBlock = textPart('text')

/** Blocks that the client has made of a document itself. */
const contentSource = z.object({
  type: z.literal('content'),
  content: z.union([z.string(), z.array(z.discriminatedUnion('type', [textBlock, sourceImage]))]),
})

const textSource = z.object({ type: z.literal('text'), media_type: z.string().nullish(), data: z.string() })

/** A file, plain text or blocks. The pages of a PDF become images. Its title and its context precede it. */
const document = z
  .object({
    type: z.literal('document'),
    source: z.discriminatedUnion('type', [...source.options, textSource, contentSource], {
      error: 'must be "base64", "url", "text" or "content": stored files are only for fine-tuning',
    }),
    title: z.string().nullish(),
    context: z.string().nullish(),
  })
  .transform(({ source, title, context }) => [
    ...[title, context].flatMap((words) => (words ? [text(`${words}\n`)] : [])),
    ...partsOf(source),
  ])

function partsOf(given: z.output<typeof source | typeof textSource | typeof contentSource>) {
  if (given.type === 'text') return [text(given.data)]
  if (given.type !== 'content') return [sourceFile(given)]
  if (typeof given.content === 'string') return [text(given.content)]
  return given.content.map((part, index) =>
    part.kind === 'text' ? part : { ...part, field: `source.content[${index}].${part.field}` },
  )
}

const fileBlocks = [sourceImage, sourceVideo, sourceAudio, document] as const

/** What a client has found itself, with its source. */
const searchResult = z
  .object({ type: z.literal('search_result'), source: z.string(), title: z.string(), content: z.array(textBlock) })
  .transform(({ source, title, content }) => [text(`${title}\n${source}\n`), ...content])

/** What tools on Anthropic's servers did in earlier turns. Other models cannot read it. */
const leftOut = z.looseObject({
  type: z.literal([
    'server_tool_use',
    'web_search_tool_result',
    'web_fetch_tool_result',
    'code_execution_tool_result',
    'bash_code_execution_tool_result',
    'text_editor_code_execution_tool_result',
    'tool_search_tool_result',
    'mcp_tool_use',
    'mcp_tool_result',
    'container_upload',
  ]),
})

const block = z.discriminatedUnion(
  'type',
  [
    textBlock,
    ...fileBlocks,
    searchResult,
    z.object({
      type: z.literal('tool_use'),
      id: z.string(),
      name: z.string(),
      input: z.record(z.string(), z.unknown()),
    }),
    z.object({
      type: z.literal('tool_result'),
      tool_use_id: z.string(),
      content: z
        .union([z.string(), z.array(z.discriminatedUnion('type', [textBlock, ...fileBlocks, searchResult]))])
        .nullish(),
      is_error: z.boolean().nullish(),
    }),
    z.object({ type: z.literal('thinking'), thinking: z.string() }),
    z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
    leftOut,
  ],
  {
    error:
      'must be "text", "image", "video", "audio", "document", "search_result", "tool_use", "tool_result" or "thinking"',
  },
)

const message = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['user', 'assistant']), content: z.union([z.string(), z.array(block).min(1)]) }),
  z.object({ role: z.literal('system'), content: z.union([z.string(), z.array(textBlock)]) }),
])

const format = z.object({ type: z.literal('json_schema'), schema: jsonSchema }).nullish()

/** The fields that make the prompt. */
const prompt = {
  model: z.string().min(1),
  messages: z.array(message).min(1).max(mostMessages),
  system: z.union([z.string(), z.array(textBlock)]).nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: z
    .object({
      type: z.enum(['auto', 'any', 'tool', 'none']),
      name: chosenName.nullish(),
      disable_parallel_tool_use: z.boolean().nullish(),
    })
    .nullish(),
  thinking: z
    .object({
      type: z.enum(['enabled', 'adaptive', 'disabled', 'between_tools']),
      budget_tokens: z.int().nullish(),
      display: z.string().nullish(),
    })
    .nullish(),
  output_config: z.looseObject({ effort: z.string().nullish(), format }).nullish(),
  output_format: format.describe('The older name of output_config.format.'),
  cache_control: z.looseObject({}).nullish(),
}

export const countRequest = z.looseObject(prompt)

export const messagesRequest = z.looseObject({
  ...prompt,
  max_tokens: ranges.maxTokens.nullish().describe('Required, except below `/inference/v1`.'),
  stop_sequences: stopTexts.nullish(),
  stream: z.boolean().nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: ranges.topP.nullish(),
  top_k: ranges.topK.nullish(),
  metadata: z.object({ user_id: z.string().nullish() }).nullish(),
  service_tier: z.string().nullish(),
  return_boxes: returnBoxes,
  usage: includeUsage,
})

export type CountRequest = z.output<typeof countRequest>
export type MessagesRequest = z.output<typeof messagesRequest>
