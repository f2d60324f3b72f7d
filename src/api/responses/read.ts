import { type Attachment, type ChatMessage, plainSettings, type Settings } from '../../deployments/index.ts'
import { type AnswerRequest, isolationOf } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { readContent, text } from '../request/content.ts'
import { chooseTools, refuseBoth } from '../request/tools.ts'
import type { ResponsesRequest } from './schema.ts'

/** A request of the Responses API as an `AnswerRequest`. @throws OrielError `invalid` */
export function readResponses(body: ResponsesRequest, { isolationKey }: RequestContext): AnswerRequest {
  const attachments: Attachment[] = []
  const { instructions, reasoning } = body
  const system: ChatMessage[] = instructions ? [{ role: 'system', content: [text(instructions)] }] : []
  const effort = reasoning?.effort
  const { tools, calling } = readTools(body)
  const settings: Settings = {
    ...plainSettings,
    maxTokens: body.max_output_tokens ?? null,
    overflow: body.truncation === 'auto' ? 'truncate' : 'error',
    sampling: { temperature: body.temperature, topP: body.top_p, grammar: grammarOf(body) },
    isolation: isolationOf(isolationKey, body.prompt_cache_isolation_key),
  }
  refuseBoth(calling, settings, 'text.format')
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages: [...system, ...readInput(body.input, attachments)],
      tools,
      calling,
      variables:
        effort == null ? {} : { reasoning_effort: effort, ...(effort === 'none' ? { enable_thinking: false } : {}) },
      splitReasoning: true,
      continues: false,
      longest: body.truncation === 'auto' ? 'context' : null,
    },
    attachments,
    settings,
    params: { prompt: 'input', grammar: 'text.format', longest: 'truncation' },
  }
}

function readTools({ tools, tool_choice: choice, parallel_tool_calls: parallel }: ResponsesRequest) {
  const asked = typeof choice === 'object' && choice !== null ? choice : { type: choice ?? ('auto' as const) }
  const mode = asked.type === 'allowed_tools' ? asked.mode : asked.type === 'function' ? 'required' : asked.type
  const only = asked.type === 'allowed_tools' ? asked.tools : asked.type === 'function' ? [asked] : null
  return chooseTools(tools, 'parameters', mode, only?.map(({ name }) => name) ?? null, parallel)
}

function grammarOf(body: ResponsesRequest): Settings['sampling']['grammar'] {
  const format = body.text?.format
  if (format?.type === 'json_schema') return { kind: 'json_schema', schema: format.schema }
  return format?.type === 'json_object' ? { kind: 'json_schema', schema: { type: 'object' } } : null
}

/** Items as messages. Consecutive reasoning, text and calls of the assistant become one message. */
function readInput(input: ResponsesRequest['input'], attachments: Attachment[]): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: [text(input)] }]
  const messages: ChatMessage[] = []
  let open = false
  const assistant = (more: Partial<ChatMessage>): void => {
    const last = open ? messages.pop() : undefined
    open = true
    messages.push({
      role: 'assistant',
      content: [...(last?.content ?? []), ...(more.content ?? [])],
      calls: [...(last?.calls ?? []), ...(more.calls ?? [])],
      reasoning: more.reasoning ?? last?.reasoning,
    })
  }
  for (const [index, item] of input.entries()) {
    const param = `input[${index}]`
    if ('role' in item) {
      const content = readContent(item.content, `${param}.content`, attachments)
      if (item.role === 'assistant') assistant({ content })
      else messages.push({ role: item.role === 'developer' ? 'system' : item.role, content })
      open = item.role === 'assistant'
    } else if (item.type === 'function_call')
      assistant({ calls: [{ id: item.call_id, name: item.name, arguments: item.arguments }] })
    else if (item.type === 'reasoning') {
      const reasoning = (item.content ?? []).map((part) => part.text).join('')
      if (reasoning !== '') assistant({ reasoning })
    } else {
      messages.push({
        role: 'tool',
        callId: item.call_id,
        content: readContent(item.output, `${param}.output`, attachments),
      })
      open = false
    }
  }
  return messages
}
