/** A turn of a chat as `prompt/` sees it: the dialects are behind us, the model's format is still ahead. */
export interface ChatMessage {
  role: string
  /** Text and pictures in the order in which the person put them. */
  content: readonly ContentPart[]
  name?: string | undefined
  /** What an assistant thought before it answered. */
  reasoning?: string | undefined
  /** What an assistant called. */
  calls?: readonly PastCall[] | undefined
  /** Which call a tool's message answers. */
  callId?: string | undefined
}

/** Whether a chat ends with what may be the beginning of its answer: an assistant's text. */
export function endsInAnswer(messages: readonly ChatMessage[]): boolean {
  const last = messages.at(-1)
  return last?.role === 'assistant' && !last.calls?.length && last.content.at(-1)?.kind === 'text'
}

/** A picture is the index of its pixels in the request's list of pictures. */
export type ContentPart = { kind: 'text'; text: string } | { kind: 'picture'; picture: number }

/** A function that the model may call. */
export interface Tool {
  name: string
  description: string | undefined
  /** JSON Schema of its arguments. */
  parameters: Readonly<Record<string, unknown>>
}

export interface PastCall {
  id: string
  name: string
  /** JSON as the model wrote it, or as a client repeats it. */
  arguments: string
}

/** A piece of the prompt. `special`: control tokens that are written out in it are read as such. */
export type PromptPart = { kind: 'text'; text: string; special: boolean } | { kind: 'picture'; picture: number }
