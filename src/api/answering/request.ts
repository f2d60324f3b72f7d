import type { Ask, Attachment, AttachmentPart } from '../../deployments/index.ts'

/** A request in the form that all dialects share. */
export interface AnswerRequest extends Ask {
  model: string
  /** The dialect's own names for parts of the ask, for errors. */
  params: { prompt: string; grammar: string; longest: string }
}

/** The keys by which cached prompts are shared: that of the body and that of the header, if they differ. */
export const isolationOf = (header: string, body?: string | null): string[] =>
  [...new Set([body ?? '', header])].filter((key) => key !== '')

/** Adds an attachment to those of a request. @returns its place in the content, which names it by its index */
export function attach(attachments: Attachment[], attachment: Attachment): AttachmentPart {
  return { kind: attachment.kind, attachment: attachments.push(attachment) - 1 }
}
