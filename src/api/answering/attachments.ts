import type { Attachment, AttachmentPart } from '../../deployments/index.ts'

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
