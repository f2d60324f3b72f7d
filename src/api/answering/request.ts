import type { Ask, Attachment, AttachmentPart } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'

/** A request in the form that all dialects share, as its body says it. */
export interface AnswerRequest extends Omit<Ask, 'client'> {
  model: string
  /** The dialect's own names for parts of the ask, for errors. */
  params: { prompt: string; grammar: string; longest: string; n?: string }
  /** Whether the model is unloaded after the answer, unless others use it. */
  unload?: boolean
}

/** A request and who sends it. */
export interface ClientRequest extends AnswerRequest, Pick<Ask, 'client'> {
  /** Whether who sends it may learn of a model. Default: of every one. */
  knows?: (id: string) => boolean
}

/** The keys by which cached prompts are shared: that of the body and that of the header, if they differ. */
export const isolationOf = (header: string, body?: string | null): string[] =>
  [...new Set([body ?? '', header])].filter((key) => key !== '')

/** What requests of a client have in common that belong together: the key of the body, that of the header, or the user. */
export const affinityOf = (
  body: { prompt_cache_key?: string | null | undefined; user?: string | null | undefined },
  { affinity }: { affinity: string | null },
): string | null => body.prompt_cache_key || affinity || body.user || null

/** Adds an attachment to those of a request. @returns its place in the content, which names it by its index */
export function attach(attachments: Attachment[], attachment: Attachment): AttachmentPart {
  return { kind: attachment.kind, attachment: attachments.push(attachment) - 1 }
}

/** Parts of all messages. A template takes microseconds for each. */
const mostParts = 10_000

/** @throws OrielError `invalid` for a conversation whose messages have too many parts together */
export function checkLength({ prompt, params }: AnswerRequest): void {
  const parts = prompt.kind === 'chat' ? prompt.messages.reduce((sum, { content }) => sum + content.length, 0) : 0
  if (parts > mostParts)
    throw new OrielError('invalid', `The messages have ${parts} parts; at most ${mostParts} are allowed.`, {
      param: params.prompt,
      code: 'too_many_parts',
    })
}
