import type { Source } from './request.ts'

/** What a request may say of a picture. `frames` and `pages` mean the same. */
interface PictureOptions {
  detail?: Source['detail'] | undefined
  frames?: string | number | null | undefined
  pages?: string | number | null | undefined
}

/** Takes the pictures out of a request: its content names each by an index. */
export class Pictures {
  readonly sources: Source[] = []

  /** @param param where it stands in the request */
  add(url: string, param: string, options: PictureOptions = {}): { kind: 'picture'; picture: number } {
    const { detail = 'auto', frames, pages } = options
    return {
      kind: 'picture',
      picture: this.sources.push({ kind: 'image', url, detail, param, pages: pages ?? frames ?? undefined }) - 1,
    }
  }
}
