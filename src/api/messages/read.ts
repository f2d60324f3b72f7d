import {
  type Attachment,
  type ChatMessage,
  type ChatPrompt,
  type ContentPart,
  endsInAnswer,
  plainSettings,
  type Settings,
} from '../../deployments/index.ts'
import { type AnswerRequest, isolationOf } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { readContent, readPart, text } from '../request/content.ts'
import { chooseTools, refuseBoth } from '../request/tools.ts'
import { invalidValue } from '../request/validation.ts'
import type { CountRequest, MessagesRequest } from './schema.ts'
import { readTools } from './tools.ts'

/**
 * A request of Anthropic's Messages as an `AnswerRequest`. A request that only counts has no settings.
 * @throws OrielError `invalid`
 */
export function readMessages(body: CountRequest & Partial<MessagesRequest>, context: RequestContext): AnswerRequest {
  const attachments: Attachment[] = []
  const { tool_choice: choice } = body
  const { tools, calling } = chooseTools(
    readTools(body.tools, context),
    choice?.type ?? 'auto',
    choice?.type === 'tool' ? [choice.name ?? ''] : null,
    !choice?.disable_parallel_tool_use,
  )
  const messages = [
    ...systemOf(body),
    ...body.messages.flatMap((message, turn) => readTurn(message, `messages[${turn}].content`, attachments, context)),
  ]
  const continues = endsInAnswer(messages)
  const { param, format } = formatOf(body)
  if (format != null && continues)
    throw invalidValue(param, `${param} and a last message of the assistant cannot be combined: send one of them.`)
  const settings: Settings = {
    ...plainSettings,
    maxTokens: body.max_tokens ?? null,
    overflow: context.dialect.defaults.overflow,
    stop: (body.stop_sequences ?? []).filter((sequence) => sequence !== ''),
    sampling: {
      temperature: body.temperature,
      topP: body.top_p,
      topK: body.top_k,
      grammar: format == null ? null : { kind: 'json_schema', schema: format.schema },
    },
    isolation: isolationOf(context.isolationKey),
    wantsBoxes: body.return_boxes ?? false,
  }
  refuseBoth(calling, settings, param)
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages,
      tools,
      calling,
      variables: variablesOf(body),
      splitReasoning: true,
      continues,
      longest: null,
    },
    attachments,
    settings,
    params: { prompt: 'messages', grammar: param, longest: 'messages' },
  }
}

/** The required format of the answer, and the parameter that has it. @throws OrielError if two parameters have one */
function formatOf({ output_config: config, output_format: format }: CountRequest) {
  if (format != null && config?.format != null)
    throw invalidValue('output_format', 'output_format and output_config.format are both present: send one of them.')
  return format == null ? { param: 'output_config.format', format: config?.format } : { param: 'output_format', format }
}

/** Variables of the chat template. Whether and how long a model thinks is decided by its template. */
function variablesOf({ thinking, output_config: config }: CountRequest): ChatPrompt['variables'] {
  return {
    ...(thinking == null ? {} : { enable_thinking: thinking.type === 'enabled' || thinking.type === 'adaptive' }),
    ...(config?.effort == null ? {} : { reasoning_effort: config.effort }),
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
  context: RequestContext,
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
    else if (block.type !== 'redacted_thinking')
      context.ignore(place, `is ${JSON.stringify(block.type)}, which the model cannot read`)
  }
  if (own.length === 0 && calls.length === 0 && results.length > 0) return results
  return [...results, { role, content: own, calls, ...(reasoning === '' ? {} : { reasoning }) }]
}
