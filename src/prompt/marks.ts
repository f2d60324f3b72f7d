import { escaped } from '../regexp.ts'
import type { PromptPart } from './messages.ts'

/**
 * Characters of Unicode's private use area bracket the number of what stands for something else while a template runs.
 * Where a person's own text has these characters they are put behind marks too, so nobody can forge one.
 */
const open = '\ue0f0'
const close = '\ue0f1'

/** What a chat's template carries through unread: pictures, and words that must stay words. */
export interface Marks {
  /** @returns a text to stand for a picture until `cut` */
  picture(picture: number): string
  /** A person's text for a template to carry: whatever in it would be read as more than text is behind marks. */
  plain(text: string): string
  /**
   * Puts back what the marks stand for.
   * @param token what the template itself writes for a picture; each stands for the next of `pictures`
   * @returns undefined unless all of `pictures` are there once, in their order
   */
  cut(rendered: string, pictures: readonly number[], token?: string): PromptPart[] | undefined
}

/** Texts that a person may not have read as more than text: control tokens, and the brackets of marks. */
export function forgeable(texts: readonly string[]): RegExp {
  // Descending: a text comes before its own beginnings, and equal beginnings stay together, which regular expressions
  // of thousands of texts are fast with.
  const sorted = [...new Set(texts)].filter((text) => text !== '').sort()
  return new RegExp([open, close, ...sorted.reverse().map(escaped)].join('|'), 'g')
}

export function createMarks(toHide: RegExp): Marks {
  const marked: PromptPart[] = []
  const mark = (part: PromptPart): string => `${open}${marked.push(part) - 1}${close}`
  return {
    picture: (picture) => mark({ kind: 'picture', picture }),
    plain: (text) => text.replace(toHide, (found) => mark({ kind: 'text', text: found, special: false })),
    cut(rendered, pictures, token) {
      const parts: PromptPart[] = []
      const found: number[] = []
      const place = (part: PromptPart): void => {
        parts.push(part)
        if (part.kind === 'picture') found.push(part.picture)
      }
      let at = 0
      const standIns = new RegExp(`${open}(\\d+)${close}${token ? `|${escaped(token)}` : ''}`, 'g')
      for (const { 0: text, 1: number, index } of rendered.matchAll(standIns)) {
        const part = number === undefined ? pictureAt(pictures, found.length) : marked[Number(number)]
        if (part === undefined) return undefined
        if (index > at) place({ kind: 'text', text: rendered.slice(at, index), special: true })
        place(part)
        at = index + text.length
      }
      if (at < rendered.length) place({ kind: 'text', text: rendered.slice(at), special: true })
      const complete = found.length === pictures.length && found.every((picture, index) => picture === pictures[index])
      return complete ? parts : undefined
    },
  }
}

function pictureAt(pictures: readonly number[], index: number): PromptPart | undefined {
  const picture = pictures[index]
  return picture === undefined ? undefined : { kind: 'picture', picture }
}
