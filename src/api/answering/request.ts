import type { Ask, Attachment, AttachmentPart } from '../../deployments/index.ts'

/** A request as every dialect tells it: the words of one API end here. */
export interface AnswerRequest extends Ask {
  model: string
  /** The dialect's own names for parts of the ask, for errors. */
  params: { prompt: string; grammar: string; longest: string }
}

/** Cached prompts are shared by the body's key, else by the header's; where both differ, by both together. */
export const isolationOf = (header: string, body?: string | null): string[] =>
  [...new Set([body ?? '', header])].filter((key) => key !== '')

/** Options of an image. `frames` and `pages` mean the same. */
interface ImageOptions {
  detail?: Attachment['detail'] | undefined
  frames?: string | number | null | undefined
  pages?: string | number | null | undefined
}

/** Collects the attachments of a request. Its content names each by an index. */
export class Attachments {
  readonly sources: Attachment[] = []

  /** @param param where it is in the request */
  add(kind: Attachment['kind'], url: string, param: string, options: ImageOptions = {}): AttachmentPart {
    const { detail = 'auto', frames, pages } = options
    const attachment = this.sources.push({ kind, url, detail, param, pages: pages ?? frames ?? undefined }) - 1
    return { kind, attachment }
  }
}
