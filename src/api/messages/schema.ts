import { z } from 'zod'
import { image, imageSource, sourceImage, text, textPart } from '../request/content.ts'
import { argumentsSchema, functionName } from '../request/tools.ts'

const textBlock = textPart('text')

/** A PDF, whose pages become images, or plain text. Its title precedes it. */
const document = z
  .object({
    type: z.literal('document'),
    source: z.discriminatedUnion(
      'type',
      [
        ...imageSource.options,
        z.object({ type: z.literal('text'), media_type: z.string().nullish(), data: z.string() }),
      ],
      { error: 'must be "base64", "url" or "text": this server stores no files' },
    ),
    title: z.string().nullish(),
  })
  .transform(({ source, title }) => {
    const content =
      source.type === 'text' ? text(source.data) : image(source.type === 'url' ? source.url : source.data, 'source')
    return title ? [text(`${title}\n`), content] : [content]
  })

const block = z.discriminatedUnion(
  'type',
  [
    textBlock,
    sourceImage,
    document,
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
        .union([z.string(), z.array(z.discriminatedUnion('type', [textBlock, sourceImage, document]))])
        .nullish(),
      is_error: z.boolean().nullish(),
    }),
    z.object({ type: z.literal('thinking'), thinking: z.string() }),
    z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
  ],
  { error: 'must be "text", "image", "document", "tool_use", "tool_result" or "thinking"' },
)

const tool = z.object({
  type: z.literal('custom').nullish(),
  name: functionName,
  description: z.string().nullish(),
  input_schema: argumentsSchema,
})

/** The fields that make the prompt. */
const prompt = {
  model: z.string().min(1),
  messages: z
    .array(z.object({ role: z.enum(['user', 'assistant']), content: z.union([z.string(), z.array(block).min(1)]) }))
    .min(1),
  system: z.union([z.string(), z.array(textBlock)]).nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: z
    .object({
      type: z.enum(['auto', 'any', 'tool', 'none']),
      name: z.string().nullish(),
      disable_parallel_tool_use: z.boolean().nullish(),
    })
    .nullish(),
  thinking: z.object({ type: z.enum(['enabled', 'disabled', 'adaptive']), budget_tokens: z.int().nullish() }).nullish(),
}

export const countRequest = z.looseObject(prompt)

export const messagesRequest = z.looseObject({
  ...prompt,
  max_tokens: z.int().min(1),
  stop_sequences: z.array(z.string()).max(16).nullish(),
  stream: z.boolean().nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  metadata: z.object({ user_id: z.string().nullish() }).nullish(),
  service_tier: z.string().nullish(),
})

export type CountRequest = z.output<typeof countRequest>
export type MessagesRequest = z.output<typeof messagesRequest>
