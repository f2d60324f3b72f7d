import type { ChatMessage, ContentPart } from '../../prompt/index.ts'
import type { Pictures } from '../answering/pictures.ts'
import type { RequestMessage } from './chat-schema.ts'

/** OpenAI's turns, with the parts of all dialects -> text and pictures, in the order of the content, in every turn. */
export const readMessages = (messages: readonly RequestMessage[], pictures: Pictures): ChatMessage[] =>
  messages.map((message, turn) => readMessage(message, `messages[${turn}]`, pictures))

function readMessage(message: RequestMessage, param: string, pictures: Pictures): ChatMessage {
  const { role, content } = message
  const parts: ContentPart[] = typeof content === 'string' ? [{ kind: 'text', text: content }] : []
  for (const [index, part] of (Array.isArray(content) ? content : []).entries())
    parts.push(readPart(part, `${param}.content[${index}]`, pictures))
  return {
    // What OpenAI calls developer is the system prompt of every other model.
    role: role === 'developer' ? 'system' : role,
    content: parts,
    name: message.name ?? undefined,
    reasoning: message.reasoning_content ?? undefined,
    calls: message.tool_calls?.map((call) => ({ id: call.id, ...call.function })),
    callId: message.tool_call_id ?? undefined,
  }
}

type Part = Extract<NonNullable<RequestMessage['content']>, readonly unknown[]>[number]

function readPart(part: Part, param: string, pictures: Pictures): ContentPart {
  switch (part.type) {
    case 'text':
    case 'input_text':
      return { kind: 'text', text: part.text }
    case 'refusal':
      return { kind: 'text', text: part.refusal }
    case 'image_url':
      return pictures.add(part.image_url.url, `${param}.image_url`, part.image_url)
    case 'input_image':
      return pictures.add(part.image_url, `${param}.image_url`, part)
    case 'file':
      return pictures.add(part.file.file_data, `${param}.file.file_data`, part.file)
    case 'input_file':
      return part.file_url == null
        ? pictures.add(part.file_data ?? '', `${param}.file_data`, part)
        : pictures.add(part.file_url, `${param}.file_url`, part)
    case 'image':
      return pictures.add(part.source.type === 'url' ? part.source.url : part.source.data, `${param}.source`)
    default:
      // The schema has refused them.
      throw new Error(`a part of the type ${part.type} came through`)
  }
}
