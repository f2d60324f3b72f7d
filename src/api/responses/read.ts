import {
  type Attachment,
  type ChatMessage,
  type ContentPart,
  plainSettings,
  type Settings,
} from '../../deployments/index.ts'
import { type AnswerRequest, affinityOf, isolationOf } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { readContent, text } from '../request/content.ts'
import { chooseTools, refuseBoth } from '../request/tools.ts'
import { conversationOf, earlier, type PlacedItem } from './history.ts'
import type { InputTokensRequest, ResponsesItem, ResponsesRequest } from './schema.ts'
import { unsealed } from './thoughts.ts'
import { offeredName, readChoice, readTools } from './tools.ts'

/**
 * A request of the Responses API as an `AnswerRequest`. A request that only counts has no settings.
 * @throws OrielError `invalid`, `not_found`
 */
export async function readResponses(
  body: InputTokensRequest & Partial<ResponsesRequest>,
  context: RequestContext,
): Promise<AnswerRequest> {
  const attachments: Attachment[] = []
  const { instructions, reasoning } = body
  const system: ChatMessage[] = instructions ? [{ role: 'system', content: [text(instructions)] }] : []
  const effort = reasoning?.effort
  const { mode, only } = readChoice(body.tool_choice)
  const { tools, calling } = chooseTools(readTools(body.tools, context), mode, only, body.parallel_tool_calls)
  const settings: Settings = {
    ...plainSettings,
    maxTokens: body.max_output_tokens ?? null,
    overflow: body.truncation === 'auto' ? 'truncate' : 'error',
    sampling: {
      temperature: body.temperature,
      topP: body.top_p,
      presencePenalty: body.presence_penalty,
      frequencyPenalty: body.frequency_penalty,
      grammar: grammarOf(body),
    },
    topLogprobs: topLogprobsOf(body),
    isolation: isolationOf(context.isolationKey, body.prompt_cache_isolation_key),
    affinity: affinityOf(body, context),
    wantsBoxes: body.return_boxes ?? false,
  }
  refuseBoth(calling, settings, 'text.format')
  const messages = [...system, ...readItems(await conversationOf(body, context), attachments, context)]
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages,
      tools,
      calling,
      variables:
        effort == null ? {} : { reasoning_effort: effort, ...(effort === 'none' ? { enable_thinking: false } : {}) },
      splitReasoning: true,
      continues: false,
      longest: body.truncation === 'auto' ? 'context' : null,
    },
    attachments: attachments.map((one) => (one.param.startsWith(earlier) ? { ...one, param: earlier } : one)),
    settings,
    params: { prompt: 'input', grammar: 'text.format', longest: 'truncation' },
  }
}

/** Number of alternatives for each token; null: no log probabilities. */
function topLogprobsOf({ include, top_logprobs: top }: Partial<ResponsesRequest>): number | null {
  return top || include?.includes('message.output_text.logprobs') ? (top ?? 0) : null
}

function grammarOf(body: InputTokensRequest): Settings['sampling']['grammar'] {
  const format = body.text?.format
  if (format?.type === 'json_schema')
    return { kind: 'json_schema', schema: format.schema, strict: format.strict ?? false }
  return format?.type === 'json_object' ? { kind: 'json_schema', schema: { type: 'object' } } : null
}

/** Items as messages. Consecutive reasoning, text and calls of the assistant become one message. */
function readItems(
  items: readonly PlacedItem[],
  attachments: Attachment[],
  { ignore }: Pick<RequestContext, 'ignore'>,
): ChatMessage[] {
  const messages: ChatMessage[] = []
  let open: AssistantMessage | undefined
  const add = (message: ChatMessage): void => {
    messages.push(message)
    open = undefined
  }
  const assistant = ({ content = [], calls = [], reasoning }: Partial<ChatMessage>): void => {
    if (open === undefined) {
      open = { role: 'assistant', content: [], calls: [], reasoning: undefined }
      messages.push(open)
    }
    for (const part of content) open.content.push(part)
    for (const call of calls) open.calls.push(call)
    open.reasoning = reasoning ?? open.reasoning
  }
  const call = (id: string, { name, namespace }: Called, args: string): void =>
    assistant({ calls: [{ id, name: offeredName(name, namespace), arguments: args }] })

  for (const { item, param } of items) {
    if ('role' in item) {
      const content = readContent(item.content, `${param}.content`, attachments)
      if (item.role === 'assistant') assistant({ content })
      else add({ role: item.role === 'developer' ? 'system' : item.role, content })
    } else if (item.type === 'function_call') call(item.call_id, item, item.arguments)
    else if (item.type === 'custom_tool_call') call(item.call_id, item, JSON.stringify({ input: item.input }))
    else if (item.type === 'function_call_output' || item.type === 'custom_tool_call_output')
      add({ role: 'tool', callId: item.call_id, content: readContent(item.output, `${param}.output`, attachments) })
    else if (item.type === 'reasoning') {
      const reasoning = thoughtOf(item)
      if (reasoning !== '') assistant({ reasoning })
    } else if (param !== earlier) ignore(param, `is ${JSON.stringify(item.type)}, which the model cannot read`)
  }
  return messages
}

/** A message that still grows. */
interface AssistantMessage extends ChatMessage {
  content: ContentPart[]
  calls: NonNullable<ChatMessage['calls']>[number][]
}

type Called = Extract<ResponsesItem, { type: 'function_call' | 'custom_tool_call' }>

function thoughtOf({
  content,
  encrypted_content: seal,
  summary,
}: Extract<ResponsesItem, { type: 'reasoning' }>): string {
  const textOf = (parts: readonly { text: string }[] | null | undefined) =>
    (parts ?? []).map((part) => part.text).join('')
  return textOf(content) || (seal == null ? null : unsealed(seal)) || textOf(summary)
}
