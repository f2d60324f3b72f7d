import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'

/** A line of a file, without its end. */
export interface Line {
  /** From 1. */
  readonly line: number
  /** Of the file before its end. */
  readonly at: number
  /** undefined: it is longer than allowed, or no UTF-8. */
  readonly text: string | undefined
  readonly bytes: number
}

const lineFeed = 0x0a

/**
 * Reads a file line by line. Empty lines are left out. Of a line that is too long nothing is kept.
 * @param mostBytes of a line
 */
export async function* readLines(file: string, mostBytes: number): AsyncGenerator<Line> {
  let [line, at] = [1, 0]
  let parts: Buffer[] = []
  let bytes = 0
  const take = (part: Buffer): void => {
    bytes += part.length
    if (bytes > mostBytes) parts = []
    else parts.push(part)
  }
  const end = (): Line | undefined => {
    const whole = bytes > mostBytes ? undefined : Buffer.concat(parts)
    // A file of Windows may begin with the mark of its encoding.
    const start = line === 1 && whole?.subarray(0, 3).equals(byteOrderMark) ? 3 : 0
    const text = whole !== undefined && isUtf8(whole) ? whole.toString('utf8', start) : undefined
    const one = { line, at, text, bytes }
    parts = []
    bytes = 0
    line++
    return text?.trim() === '' ? undefined : one
  }
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
    let from = 0
    for (let to = chunk.indexOf(lineFeed); to >= 0; to = chunk.indexOf(lineFeed, from)) {
      take(chunk.subarray(from, to))
      at += to + 1 - from
      from = to + 1
      const one = end()
      if (one !== undefined) yield one
    }
    at += chunk.length - from
    if (from < chunk.length) take(chunk.subarray(from))
  }
  const last = bytes > 0 ? end() : undefined
  if (last !== undefined) yield last
}

const chunkBytes = 1 << 20
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])
