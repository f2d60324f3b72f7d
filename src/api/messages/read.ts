import {
  type Attachment,
  type ChatMessage,
  type ContentPart,
  endsInAnswer,
  plainSettings,
} from '../../deployments/index.ts'
import { type AnswerRequest, isolationOf } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { readContent, readPart, text } from '../request/content.ts'
import { chooseTools } from '../request/tools.ts'
import type { CountRequest, MessagesRequest } from './schema.ts'

/**
 * A request of Anthropic's Messages as an `AnswerRequest`. A request that only counts has no settings.
 * @throws OrielError `invalid`
 */
export function readMessages(body: CountRequest & Partial<MessagesRequest>, context: RequestContext): AnswerRequest {
  const attachments: Attachment[] = []
  const { tool_choice: choice, thinking } = body
  const { tools, calling } = chooseTools(
    body.tools?.map(({ input_schema, ...tool }) => ({ ...tool, parameters: input_schema })),
    'input_schema',
    choice?.type ?? 'auto',
    choice?.type === 'tool' ? [choice.name ?? ''] : null,
    !choice?.disable_parallel_tool_use,
  )
  const messages = [
    ...systemOf(body),
    ...body.messages.flatMap((message, turn) => readTurn(message, `messages[${turn}].content`, attachments)),
  ]
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages,
      tools,
      calling,
      variables: thinking == null ? {} : { enable_thinking: thinking.type !== 'disabled' },
      splitReasoning: true,
      continues: endsInAnswer(messages),
      longest: null,
    },
    attachments,
    settings: {
      ...plainSettings,
      maxTokens: body.max_tokens ?? null,
      overflow: context.dialect.defaults.overflow,
      stop: (body.stop_sequences ?? []).filter((sequence) => sequence !== ''),
      sampling: { temperature: body.temperature, topP: body.top_p, topK: body.top_k },
      isolation: isolationOf(context.isolationKey),
    },
    params: { prompt: 'messages', grammar: 'tools', longest: 'messages' },
  }
}

function systemOf({ system }: CountRequest): ChatMessage[] {
  const parts = typeof system === 'string' ? [text(system)] : (system ?? [])
  const content = parts.filter((part) => part.text !== '')
  return content.length === 0 ? [] : [{ role: 'system', content }]
}

/** One turn may become several messages: tool results are part of the user's turn. */
function readTurn(
  { role, content }: CountRequest['messages'][number],
  param: string,
  attachments: Attachment[],
): ChatMessage[] {
  if (typeof content === 'string') return [{ role, content: [text(content)] }]
  const results: ChatMessage[] = []
  const own: ContentPart[] = []
  const calls: NonNullable<ChatMessage['calls']>[number][] = []
  let reasoning = ''
  for (const [index, block] of content.entries()) {
    const place = `${param}[${index}]`
    if (!('type' in block)) own.push(...readPart(block, place, attachments))
    else if (block.type === 'tool_result') {
      const parts = block.content == null ? [] : readContent(block.content, `${place}.content`, attachments)
      // Chat templates have no field for a failed call, so the model reads it in the text.
      const result = block.is_error ? [text('Error: '), ...parts] : parts
      results.push({ role: 'tool', callId: block.tool_use_id, content: result })
    } else if (block.type === 'tool_use')
      calls.push({ id: block.id, name: block.name, arguments: JSON.stringify(block.input) })
    else if (block.type === 'thinking') reasoning += block.thinking
  }
  if (own.length === 0 && calls.length === 0 && results.length > 0) return results
  return [...results, { role, content: own, calls, ...(reasoning === '' ? {} : { reasoning }) }]
}
