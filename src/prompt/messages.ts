import type { AttachmentKind } from '../attachments.ts'

/** A message of a chat, in the form of no dialect and of no model. */
export interface ChatMessage {
  role: string
  /** Text and attachments in the order of the request. */
  content: readonly ContentPart[]
  name?: string | undefined
  /** The assistant's reasoning before its answer. */
  reasoning?: string | undefined
  calls?: readonly PastCall[] | undefined
  /** The call that a tool's message answers. */
  callId?: string | undefined
}

/** Whether a chat ends with an assistant's text, which the answer may continue. */
export function endsInAnswer(messages: readonly ChatMessage[]): boolean {
  const last = messages.at(-1)
  return last?.role === 'assistant' && !last.calls?.length && last.content.at(-1)?.kind === 'text'
}

/** An attachment by its index in the request's list of attachments. */
export interface AttachmentPart {
  kind: AttachmentKind
  attachment: number
}

export type ContentPart = { kind: 'text'; text: string } | AttachmentPart

/** A function that the model may call. */
export interface Tool {
  name: string
  description: string | undefined
  /** JSON Schema of its arguments. */
  parameters: Readonly<Record<string, unknown>>
  /** Whether the schema is refused if arguments cannot be held to all of it. */
  strict?: boolean | undefined
}

/** JSON Schema for a function without `parameters`. Templates write it: it is the same in requests and in training. */
export const noArguments = { type: 'object', properties: {}, additionalProperties: false }

export interface PastCall {
  id: string
  name: string
  /** JSON as the model wrote it, or as a client repeats it. */
  arguments: string
}

/** A part of a prompt that is laid out. `special`: control tokens written out in the text are read as such. */
export type PromptPart = { kind: 'text'; text: string; special: boolean } | AttachmentPart
