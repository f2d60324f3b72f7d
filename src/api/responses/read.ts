import type { ChatMessage, ContentPart } from '../../prompt/index.ts'
import type { RequestContext } from '../answer-route.ts'
import { Pictures } from '../answering/pictures.ts'
import { type AnswerRequest, isolationOf, plainSettings, type Settings } from '../answering/request.ts'
import { chooseTools, noArguments, refuseBoth } from '../openai/tools.ts'
import type { ResponsesRequest } from './schema.ts'

/** A request of the Responses API as every dialect tells it. */
export function readResponsesRequest(body: ResponsesRequest, { isolationKey }: RequestContext): AnswerRequest {
  const pictures = new Pictures()
  const { instructions, reasoning } = body
  const system: ChatMessage[] = instructions
    ? [{ role: 'system', content: [{ kind: 'text', text: instructions }] }]
    : []
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
      messages: [...system, ...readInput(body.input, pictures)],
      tools,
      calling,
      variables:
        effort == null ? {} : { reasoning_effort: effort, ...(effort === 'none' ? { enable_thinking: false } : {}) },
      splitReasoning: true,
      continues: false,
      longest: body.truncation === 'auto' ? 'context' : null,
    },
    attachments: pictures.sources,
    settings,
    params: { prompt: 'input', grammar: 'text.format', longest: 'truncation' },
  }
}

function readTools({ tools, tool_choice: choice, parallel_tool_calls: parallel }: ResponsesRequest) {
  const asked = typeof choice === 'object' && choice !== null ? choice : { type: choice ?? ('auto' as const) }
  const mode = asked.type === 'allowed_tools' ? asked.mode : asked.type === 'function' ? 'required' : asked.type
  const only = asked.type === 'allowed_tools' ? asked.tools : asked.type === 'function' ? [asked] : null
  return chooseTools(
    (tools ?? []).map(({ name, description, parameters }, index) => ({
      name,
      description: description ?? undefined,
      parameters: parameters ?? noArguments,
      param: `tools[${index}].parameters`,
    })),
    {
      mode: mode === 'required' ? 'forced' : mode,
      only: only?.map(({ name }) => name) ?? null,
      parallel: parallel ?? true,
    },
  )
}

function grammarOf({ text }: ResponsesRequest): Settings['sampling']['grammar'] {
  const format = text?.format
  if (format?.type === 'json_schema') return { kind: 'json_schema', schema: format.schema }
  return format?.type === 'json_object' ? { kind: 'json_schema', schema: { type: 'object' } } : null
}

type Item = Exclude<ResponsesRequest['input'], string>[number]
type Part = Exclude<Extract<Item, { role: string }>['content'], string>[number]

/** Items -> turns: what an assistant thought, said and called is one turn there. */
function readInput(input: ResponsesRequest['input'], pictures: Pictures): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: [{ kind: 'text', text: input }] }]
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
      const content = readContent(item.content, `${param}.content`, pictures)
      if (item.role === 'assistant') assistant({ content })
      else messages.push({ role: item.role === 'developer' ? 'system' : item.role, content })
      open = item.role === 'assistant'
    } else if (item.type === 'function_call')
      assistant({ calls: [{ id: item.call_id, name: item.name, arguments: item.arguments }] })
    else if (item.type === 'reasoning') {
      const reasoning = (item.content ?? []).map(({ text }) => text).join('')
      if (reasoning !== '') assistant({ reasoning })
    } else {
      messages.push({
        role: 'tool',
        callId: item.call_id,
        content: readContent(item.output, `${param}.output`, pictures),
      })
      open = false
    }
  }
  return messages
}

const readContent = (content: string | readonly Part[], param: string, pictures: Pictures): ContentPart[] =>
  typeof content === 'string'
    ? [{ kind: 'text', text: content }]
    : content.map((part, index) => readPart(part, `${param}[${index}]`, pictures))

function readPart(part: Part, param: string, pictures: Pictures): ContentPart {
  if (part.type === 'refusal') return { kind: 'text', text: part.refusal }
  if (part.type === 'input_image') {
    const detail = part.detail === 'original' ? 'high' : (part.detail ?? 'auto')
    return pictures.add(part.image_url, `${param}.image_url`, { ...part, detail })
  }
  if (part.type === 'input_file')
    return part.file_url == null
      ? pictures.add(part.file_data ?? '', `${param}.file_data`, part)
      : pictures.add(part.file_url, `${param}.file_url`, part)
  return { kind: 'text', text: part.text }
}
