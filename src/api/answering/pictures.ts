import type { Source } from './request.ts'

/** Takes the pictures out of a request: its content names each by an index. */
export class Pictures {
  readonly sources: Source[] = []

  /** @param param where it stands in the request */
  add(
    url: string,
    param: string,
    detail: Source['detail'] = 'auto',
    pages?: Source['pages'],
  ): { kind: 'picture'; picture: number } {
    return { kind: 'picture', picture: this.sources.push({ url, detail, param, pages }) - 1 }
  }
}
