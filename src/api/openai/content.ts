import type { PictureSource } from '../media/index.ts'
import type { ChatMessage, ContentPart } from '../prompt/index.ts'
import type { RequestMessage } from './chat-schema.ts'

type Detail = 'low' | 'high' | 'auto'

/** A chat with its pictures taken out: each is named in the content by its index in `sources`. */
export interface ReadMessages {
  messages: ChatMessage[]
  sources: (PictureSource & { detail: Detail })[]
}

/** The dialects' content parts -> text and pictures, in the order of the content, in every turn. */
export function readMessages(messages: readonly RequestMessage[]): ReadMessages {
  const sources: ReadMessages['sources'] = []
  const picture = (url: string, detail: Detail, param: string, pages?: string | number): ContentPart => ({
    kind: 'picture',
    picture: sources.push({ url, detail, param, pages }) - 1,
  })

  const read = ({ role, content }: RequestMessage, turn: number): ChatMessage => {
    const parts: ContentPart[] = []
    if (typeof content === 'string') parts.push({ kind: 'text', text: content })
    for (const [index, part] of (Array.isArray(content) ? content : []).entries()) {
      const param = `messages[${turn}].content[${index}]`
      if (part.type === 'text' || part.type === 'input_text') parts.push({ kind: 'text', text: part.text })
      else if (part.type === 'image_url')
        parts.push(picture(part.image_url.url, part.image_url.detail, `${param}.image_url`))
      else if (part.type === 'input_image') parts.push(picture(part.image_url, part.detail, `${param}.image_url`))
      else if (part.type === 'file')
        parts.push(picture(part.file.file_data, 'auto', `${param}.file.file_data`, part.file.pages))
      else if (part.type === 'image')
        parts.push(picture(part.source.type === 'url' ? part.source.url : part.source.data, 'auto', `${param}.source`))
    }
    // What OpenAI calls developer is the system prompt of every other model.
    return { role: role === 'developer' ? 'system' : role, content: parts }
  }
  return { messages: messages.map(read), sources }
}
