import type { AttachmentKind } from '../attachments.ts'
import { escaped } from '../regexp.ts'
import type { AttachmentPart, PromptPart } from './messages.ts'

/**
 * Characters of Unicode's private use area bracket the number of what a mark stands for while a template runs. A client's
 * text that holds these characters goes behind marks too, so no client can forge one.
 */
const open = '\ue0f0'
const close = '\ue0f1'

/** What a template carries through unread: attachments, and text that must stay text. */
export interface Marks {
  /** @returns a text that stands for the attachment until `cut` */
  attachment(part: AttachmentPart): string
  /** A client's text for a template. Its control tokens are replaced by marks. */
  plain(text: string): string
  /**
   * Replaces the marks by their parts.
   * @param tokens what the template itself writes for an attachment of each kind; each stands for the next of its kind
   * @returns undefined unless the result has each of `attachments` once, in order
   */
  cut(rendered: string, attachments: readonly AttachmentPart[], tokens: AttachmentTokens): PromptPart[] | undefined
}

export type AttachmentTokens = Readonly<Partial<Record<AttachmentKind, string>>>

/** Texts that a client may write only as text: control tokens, and the brackets of marks. */
export function forgeable(texts: readonly string[]): RegExp {
  // Descending: a text comes before its own beginnings, and equal beginnings stay together, which keeps regular
  // expressions of thousands of texts fast.
  const sorted = [...new Set(texts)].filter((text) => text !== '').sort()
  return new RegExp([open, close, ...sorted.reverse().map(escaped)].join('|'), 'g')
}

/** Characters behind a hidden text that are hidden with it: a text of a million control tokens would take as many marks. */
const hiddenBehind = 500

/** Longest text that is hidden, in characters. */
const mostHidden = 256

/** The end of what is hidden with a text that ends at `end`. The end of a whole text stays open: templates trim it. */
function hiddenEnd(text: string, end: number, toHide: RegExp): number {
  const least = end + hiddenBehind
  if (least + mostHidden >= text.length) return end
  let to = least
  toHide.lastIndex = least - mostHidden
  for (let found = toHide.exec(text); found !== null && found.index < least; found = toHide.exec(text))
    to = Math.max(to, toHide.lastIndex)
  const code = text.charCodeAt(to)
  return code >= 0xdc00 && code < 0xe000 ? to + 1 : to
}

export function createMarks(toHide: RegExp): Marks {
  const marked: PromptPart[] = []
  const mark = (part: PromptPart): string => `${open}${marked.push(part) - 1}${close}`
  return {
    attachment: mark,
    plain(text) {
      let written = ''
      let from = 0
      toHide.lastIndex = 0
      for (let found = toHide.exec(text); found !== null; found = toHide.exec(text)) {
        const end = hiddenEnd(text, toHide.lastIndex, toHide)
        written += text.slice(from, found.index)
        written += mark({ kind: 'text', text: text.slice(found.index, end), special: false })
        from = end
        toHide.lastIndex = end
      }
      return written + text.slice(from)
    },
    cut(rendered, attachments, tokens) {
      const parts: PromptPart[] = []
      const found: AttachmentPart[] = []
      const place = (part: PromptPart): void => {
        parts.push(part)
        if (part.kind !== 'text') found.push(part)
      }
      let at = 0
      const standIns = new RegExp([`${open}(\\d+)${close}`, ...Object.values(tokens).map(escaped)].join('|'), 'g')
      for (const { 0: text, 1: number, index } of rendered.matchAll(standIns)) {
        const part = number === undefined ? attachments[found.length] : marked[Number(number)]
        if (part === undefined || (number === undefined && (part.kind === 'text' || tokens[part.kind] !== text)))
          return undefined
        if (index > at) place({ kind: 'text', text: rendered.slice(at, index), special: true })
        place(part)
        at = index + text.length
      }
      if (at < rendered.length) place({ kind: 'text', text: rendered.slice(at), special: true })
      const complete =
        found.length === attachments.length &&
        found.every(({ attachment }, index) => attachment === attachments[index]?.attachment)
      return complete ? parts : undefined
    },
  }
}
