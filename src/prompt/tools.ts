import { isBeyondWalking, mostJson, parseJson } from '../json.ts'
import type { ChatMessage, ContentPart, PastCall, Tool } from './messages.ts'

/** A tool as chat templates expect it, in OpenAI's shape. */
export const templateTool = ({ name, description, parameters }: Tool) => ({
  type: 'function',
  function: { name, description: description ?? '', parameters },
})

/** The variables of a turn besides its role and content. */
export function templateCalls({ calls, callId, name, reasoning }: ChatMessage): Record<string, unknown> {
  return {
    ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
    ...(callId === undefined ? {} : { tool_call_id: callId }),
    ...(name === undefined ? {} : { name }),
    ...(calls === undefined || calls.length === 0
      ? {}
      : {
          tool_calls: calls.map((call) => ({
            id: call.id,
            type: 'function',
            // Templates write arguments as JSON themselves: a string would be quoted twice.
            function: { name: call.name, arguments: jsonOrText(call.arguments) },
          })),
        }),
  }
}

/** Ids of nine letters, for templates that refuse all others. Equal ids stay equal. */
export function shortIds(messages: readonly ChatMessage[]): ChatMessage[] {
  const known = new Map<string, string>()
  const short = (id: string): string => {
    const given = known.get(id) ?? `call${String(known.size).padStart(5, '0')}`
    known.set(id, given)
    return given
  }
  return messages.map((message) => ({
    ...message,
    ...(message.calls === undefined ? {} : { calls: message.calls.map((call) => ({ ...call, id: short(call.id) })) }),
    ...(message.callId === undefined ? {} : { callId: short(message.callId) }),
  }))
}

/**
 * A chat with tools as text, for a template without tools: the tools in the first turn, calls and their results in the
 * text of the turns, in the format that most models have seen in training (Hermes).
 */
export function toolsInWords(messages: readonly ChatMessage[], tools: readonly Tool[]): ChatMessage[] {
  const worded = callsInWords(messages).map((message): ChatMessage => {
    if (message.callId !== undefined || message.role === 'tool')
      return { role: 'user', content: [text('<tool_response>\n'), ...message.content, text('\n</tool_response>')] }
    return message
  })
  const first = worded[0]
  if (tools.length === 0 || first === undefined) return worded
  // Not every template accepts a system prompt, so none is added to a chat without one.
  const words =
    first.role === 'system'
      ? [...first.content, text(`\n\n${instructions(tools)}`)]
      : [text(`${instructions(tools)}\n\n`), ...first.content]
  return [{ ...first, content: words }, ...worded.slice(1)]
}

/** Calls as text of their turns, for templates that support tools but not past calls. */
export const callsInWords = (messages: readonly ChatMessage[]): ChatMessage[] =>
  messages.map(({ calls = [], ...rest }) =>
    calls.length === 0 ? rest : { ...rest, content: [...rest.content, text(calls.map(callInWords).join(''))] },
  )

const text = (words: string): ContentPart => ({ kind: 'text', text: words })

const callInWords = ({ name, arguments: given }: PastCall): string =>
  `\n<tool_call>\n${JSON.stringify({ name, arguments: jsonOrText(given) })}\n</tool_call>`

const instructions = (tools: readonly Tool[]): string =>
  `You may call these functions:
<tools>
${tools.map((tool) => JSON.stringify(templateTool(tool))).join('\n')}
</tools>
To call one, answer with its name and arguments as JSON within tags:
<tool_call>
{"name": "the function's name", "arguments": {}}
</tool_call>`

/** Arguments as a value. Text that is not JSON or is long, and JSON that templates cannot walk through, stays text. */
export function jsonOrText(text: string): unknown {
  if (text.length > mostJson.characters) return text
  const value = parseJson(text)
  return value === undefined || isBeyondWalking(value) ? text : value
}
