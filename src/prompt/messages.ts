/** A chat as `prompt/` sees it: the dialects are behind us, the model's format is still ahead. */
export interface ChatMessage {
  role: string
  /** Text and pictures in the order in which the person put them. */
  content: readonly ContentPart[]
}

/** A picture is the index of its pixels in the request's list of pictures. */
export type ContentPart = { kind: 'text'; text: string } | { kind: 'picture'; picture: number }

/** A piece of the prompt. `special`: control tokens that are written out in it are read as such. */
export type PromptPart = { kind: 'text'; text: string; special: boolean } | { kind: 'picture'; picture: number }
