import type { Range } from './gbnf.ts'

/** Bytes of one character in UTF-8, as a range for each byte: `[[0xc3, 0xc3], [0xa0, 0xbf]]`. */
export type ByteRanges = readonly Range[]

/** The largest code points of one, two, three and four bytes. */
const lasts = [0x7f, 0x7ff, 0xffff, 0x10ffff]

/** The characters of a range as sequences of bytes. U+0000 and halves of surrogate pairs are left out. */
export function byteRanges([first, last]: Range): ByteRanges[] {
  const found: ByteRanges[] = []
  let from = Math.max(1, first)
  for (const [index, end] of lasts.entries()) {
    const to = Math.min(last, end)
    if (from <= Math.min(to, 0xd7ff)) split(from, Math.min(to, 0xd7ff), index + 1, found)
    if (Math.max(from, 0xe000) <= to) split(Math.max(from, 0xe000), to, index + 1, found)
    from = Math.max(from, end + 1)
  }
  return found
}

/** Cuts a range of characters of the same length until each byte of them is in one range, whatever the others are. */
function split(from: number, to: number, length: number, found: ByteRanges[]): void {
  for (let low = 1; low < length; low++) {
    const mask = (1 << (6 * low)) - 1
    if ((from & ~mask) === (to & ~mask)) continue
    const cut = (from & mask) !== 0 ? (from | mask) + 1 : (to & mask) !== mask ? to & ~mask : undefined
    if (cut === undefined) continue
    split(from, cut - 1, length, found)
    split(cut, to, length, found)
    return
  }
  const [a, b] = [encode(from, length), encode(to, length)]
  found.push(a.map((byte, i): Range => [byte, b[i] as number]))
}

function encode(code: number, length: number): number[] {
  if (length === 1) return [code]
  const bytes = Array.from({ length: length - 1 }, (_, i) => 0x80 | ((code >> (6 * (length - 2 - i))) & 0x3f))
  const lead = [0, 0, 0xc0, 0xe0, 0xf0][length] as number
  return [lead | (code >> (6 * (length - 1))), ...bytes]
}
