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
