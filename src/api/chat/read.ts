import { type Attachment, type ChatMessage, type ChatPrompt, endsInAnswer } from '../../deployments/index.ts'
import type { AnswerRequest } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { boundsOf, readContent } from '../request/content.ts'
import { formatOf, maxTokensOf, settingsOf, topLogprobsOf } from '../request/parameters.ts'
import { readTools, refuseBoth } from '../request/tools.ts'
import { invalidValue } from '../request/validation.ts'
import type { ChatRequest } from './schema.ts'

/** A request of OpenAI's chats as an `AnswerRequest`. @throws OrielError `invalid` */
export function readChat(body: ChatRequest, context: RequestContext): AnswerRequest {
  const attachments: Attachment[] = []
  const messages = body.messages.map((message, turn, all) => readMessage(message, turn, all[turn - 1], attachments))
  const { tools, calling } = readTools(body)
  const { param: format, grammar } = formatOf(body)
  const settings = settingsOf(body, grammar, context)
  refuseBoth(calling, settings, format, body.functions == null ? 'tool_choice' : 'function_call')
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages,
      tools,
      calling,
      variables: variablesOf(body),
      splitReasoning: body.separate_reasoning ?? true,
      continues: continuesOf(body, messages),
      longest: body.prompt_truncate_len || null,
    },
    attachments: bounded(attachments, body.mm_processor_kwargs),
    settings: {
      ...settings,
      maxTokens: maxTokensOf(body, null),
      topLogprobs: topLogprobsOf(body),
    },
    params: { prompt: 'messages', grammar: format, longest: 'prompt_truncate_len' },
  }
}

type Message = ChatRequest['messages'][number]

const bounded = (attachments: readonly Attachment[], bounds: ChatRequest['mm_processor_kwargs']): Attachment[] =>
  attachments.map((one) => ({ ...one, bounds: one.bounds ?? boundsOf(bounds ?? {}) }))

/** OpenAI's developer message is the system prompt of other models. */
const roles: Partial<Record<Message['role'], string>> = { developer: 'system', function: 'tool' }

/** @param before the message before it, whose `function_call` a message of the role `function` answers */
function readMessage(
  message: Message,
  turn: number,
  before: Message | undefined,
  attachments: Attachment[],
): ChatMessage {
  const { role, name, reasoning_content, tool_calls, tool_call_id, function_call } = message
  // What an assistant refused is what it said.
  const content = message.content ?? (message.refusal || null)
  const calls = tool_calls?.map((call) => ({ id: call.id, ...call.function }))
  const answered = role === 'function' && before?.function_call != null ? functionCallId(turn - 1) : undefined
  return {
    role: roles[role] ?? role,
    content: content == null ? [] : readContent(content, `messages[${turn}].content`, attachments),
    name: name ?? undefined,
    reasoning: reasoning_content ?? undefined,
    calls: function_call == null ? calls : [...(calls ?? []), { id: functionCallId(turn), ...function_call }],
    callId: tool_call_id ?? answered,
  }
}

/** Calls of the older form have no ids. */
const functionCallId = (turn: number): string => `call_${turn}`

/** Whether the answer continues the last message, by vLLM's two switches. */
function continuesOf(
  { continue_final_message: continues, add_generation_prompt: begins }: ChatRequest,
  messages: readonly ChatMessage[],
): boolean {
  const param = continues == null ? 'add_generation_prompt' : 'continue_final_message'
  if (continues != null && continues === begins)
    throw invalidValue(param, `continue_final_message and add_generation_prompt are both ${begins}: they must differ.`)
  if (!(continues ?? begins === false)) return false
  if (!endsInAnswer(messages))
    throw invalidValue(
      param,
      `${param} is ${continues ?? begins}, but the last message is not an assistant message with text to continue.`,
    )
  return true
}

/** Variables of the chat template. Whether and how long a model thinks is decided by its template. */
function variablesOf(body: ChatRequest): ChatPrompt['variables'] {
  const { reasoning_effort: effort, thinking, enable_thinking } = body
  if (effort != null && thinking != null)
    throw invalidValue('thinking', 'reasoning_effort and thinking are both present: send one of them.')
  const asked = thinking == null ? enable_thinking : thinking.type === 'enabled'
  const thinks = asked ?? (effort === 'none' || effort === false ? false : null)
  return {
    ...(effort == null ? {} : { reasoning_effort: effort }),
    ...(thinks === null ? {} : { enable_thinking: thinks }),
    ...body.chat_template_kwargs,
  }
}
