import { isAscii } from 'node:buffer'
import { OrielError } from '../../errors.ts'
import type { BodyReader } from './read-body.ts'
import { type Frame, invalidJson, Structure } from './structure.ts'

/** Bytes that are read at a time. It bounds how long the event loop waits, whatever they contain. */
const usualBlock = 64_000
/** What a string, an array, an object or an item costs in memory beyond its text. */
const bytesPerValue = 16

type Json = { [name: string]: unknown }

/** A container whose members are parsed as they arrive. */
interface Container {
  readonly members: unknown[] | Json
  /** Whether it has a member, so that the text of the next one begins with a comma. */
  begun: boolean
  /** The name of the last member, if its value is still to come. */
  name: string
}

/**
 * Reads JSON as it arrives, in a time and a memory that are proportional to its bytes. `JSON.parse` reads the text between
 * two places of the structure: all of it, if the text is short. What the text may not have is refused when it is found.
 */
export class JsonReader implements BodyReader {
  readonly #blockBytes: number
  /** A string longer than this is decoded piece by piece, as it arrives. */
  readonly #longString: number
  readonly #structure = new Structure()
  /** Of the open frames, the outermost first, those that are containers already. */
  readonly #containers: Container[] = [{ members: [], begun: false, name: '' }]
  /** The open string, if it is long: its pieces so far. */
  #pieces: string[] | undefined
  /** What has arrived since, and space for more. The chunks are not kept: one of a byte takes hundreds. */
  #arrived = Buffer.alloc(0)
  #arrivedBytes = 0
  /** What is not parsed yet. */
  #text = Buffer.alloc(0)

  constructor(blockBytes = usualBlock) {
    this.#blockBytes = blockBytes
    this.#longString = blockBytes / 4
  }

  get overhead(): number {
    return bytesPerValue * this.#structure.values
  }

  /** @throws OrielError `invalid`, `too_large` */
  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; at += this.#blockBytes) {
      const block = chunk.subarray(at, at + this.#blockBytes)
      if (this.#arrivedBytes + block.length < this.#blockBytes) this.#keep(block)
      else {
        this.#readArrived(block)
        this.#settle()
      }
    }
  }

  /** @returns undefined for an empty text @throws OrielError `invalid`, `too_large` */
  end(): unknown {
    this.#readArrived(Buffer.alloc(0))
    const { frames, inString } = this.#structure
    const [root] = this.#containers
    const [frame] = frames
    if (root === undefined || frame === undefined || frames.length > 1 || inString) throw invalidJson()
    const text = this.#text.subarray(frame.from)
    if (!root.begun && isBlank(text)) return undefined
    this.#add(root, frame, text)
    const [value, ...more] = root.members as unknown[]
    if (more.length > 0) throw invalidJson()
    return value
  }

  #keep(chunk: Buffer): void {
    const bytes = this.#arrivedBytes + chunk.length
    if (bytes > this.#arrived.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(2 * bytes, this.#blockBytes))
      this.#arrived.copy(larger, 0, 0, this.#arrivedBytes)
      this.#arrived = larger
    }
    chunk.copy(this.#arrived, this.#arrivedBytes)
    this.#arrivedBytes = bytes
  }

  /** @param last what arrives now */
  #readArrived(last: Buffer): void {
    const from = this.#text.length
    this.#text = Buffer.concat([this.#text, this.#arrived.subarray(0, this.#arrivedBytes), last])
    this.#arrivedBytes = 0
    this.#structure.read(this.#text, from, (frame, at) => this.#close(frame, at))
  }

  /** A frame ends. One that is no container yet remains text of the frame around it. @param at place of its last byte */
  #close(frame: Frame | 'string', at: number): void {
    const { frames } = this.#structure
    if (frame === 'string') {
      if (this.#pieces === undefined) return
      this.#pieces.push(this.#stringPiece(at))
      const [outer, around] = [frames.at(-1), this.#containers.at(-1)]
      if (outer === undefined || around === undefined) throw invalidJson()
      put(around, this.#pieces.join(''))
      this.#pieces = undefined
      outer.from = at + 1
      return
    }
    if (this.#containers.length <= frames.length) return
    const container = this.#containers.pop()
    const outer = frames.at(-1)
    if (container === undefined || outer === undefined) throw invalidJson()
    this.#add(container, frame, this.#text.subarray(frame.from, at))
    outer.from = at + 1
  }

  /** Parses what is complete, so that little text remains. */
  #settle(): void {
    const { frames, inString, stringAt } = this.#structure
    const isLong = inString && (this.#pieces !== undefined || this.#text.length - stringAt > this.#longString)
    for (const [depth, frame] of frames.entries()) {
      const inner = frames[depth + 1]
      const container = this.#containers[depth]
      if (container === undefined) throw invalidJson()
      if (inner !== undefined) {
        if (this.#containers.length > depth + 1) continue
        this.#reserve(container, frame, inner.from - 1)
        const members = inner.isArray ? [] : {}
        put(container, members)
        this.#containers.push({ members, begun: false, name: '' })
      } else if (isLong) {
        if (this.#pieces === undefined) {
          if (!frame.isArray && !frame.afterColon) throw longName(this.#longString)
          this.#reserve(container, frame, stringAt)
          frame.from = stringAt + 1
          this.#pieces = []
        }
        const cut = pieceEnd(this.#text, frame.from)
        this.#pieces.push(this.#stringPiece(cut))
        frame.from = cut
      } else if (frame.commaAt > frame.from) {
        this.#add(container, frame, this.#text.subarray(frame.from, frame.commaAt))
        frame.from = frame.commaAt
      }
    }
    const kept = frames.at(-1)?.from ?? 0
    const end = inString ? this.#text.length : withoutSpaces(this.#text, kept)
    // Only a number can be as long as this.
    if (end - kept > 4 * this.#blockBytes) throw invalidJson()
    this.#text = Buffer.from(this.#text.subarray(kept, end))
    this.#structure.rebase(kept)
  }

  /** The open string, from where it is decoded to this place. */
  #stringPiece(to: number): string {
    const from = this.#structure.frames.at(-1)?.from ?? to
    const text = textOf(this.#text.subarray(from, to))
    return hasNoEscapes.test(text) ? text : (parse(`"${text}"`) as string)
  }

  /** Adds the members of a text. @param last a value to complete it with, which `put` replaces */
  #add(container: Container, { isArray }: Frame, bytes: Buffer, last = ''): void {
    let text = textOf(bytes)
    if (container.begun) {
      text = text.replace(/^[ \t\r\n]+/, '')
      if (text === '' && last === '') return
      if (text[0] !== ',') throw invalidJson()
      text = text.slice(1)
    }
    const added = parse(isArray ? `[${text}${last}]` : `{${text}${last}}`) as unknown[] | Json
    const isEmpty = Array.isArray(added) ? added.length === 0 : Object.keys(added).length === 0
    if (isEmpty) {
      if (container.begun) throw invalidJson()
      return
    }
    container.begun = true
    const { members } = container
    if (Array.isArray(members)) for (const value of added as unknown[]) members.push(value)
    else for (const [name, value] of Object.entries(added)) define(members, name, value)
  }

  /** Adds the members before a place, and one whose value begins there. */
  #reserve(container: Container, frame: Frame, at: number): void {
    this.#add(container, frame, this.#text.subarray(frame.from, at), 'null')
    if (!frame.isArray) container.name = parse(textOf(this.#text.subarray(frame.nameFrom, frame.nameTo))) as string
  }
}

/** Sets the value of the member that was reserved. */
function put({ members, name }: Container, value: unknown): void {
  if (Array.isArray(members)) members[members.length - 1] = value
  else define(members, name, value)
}

/** As `JSON.parse` does: a member named `__proto__` is one like any other. */
function define(members: Json, name: string, value: unknown): void {
  if (name === '__proto__')
    Object.defineProperty(members, name, { value, enumerable: true, writable: true, configurable: true })
  else members[name] = value
}

/** Where white space at the end begins, after its first byte, which separates two values. */
function withoutSpaces(text: Buffer, from: number): number {
  let end = text.length
  while (end - 2 >= from && isSpace(text[end - 1]) && isSpace(text[end - 2])) end--
  return end
}

const isSpace = (byte = 0): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Where a string may be cut: not within an escape or a character. */
function pieceEnd(text: Buffer, from: number): number {
  let end = text.length
  // A character has at most four bytes, and an escape six.
  for (let back = 1; back <= 4 && end - back >= from; back++) {
    const byte = text[text.length - back] ?? 0
    if (byte < 0x80) break
    if (byte >= 0xc0) {
      end = text.length - back
      break
    }
  }
  for (let at = Math.max(from, end - 6); at < end; at++) {
    if (text[at] !== 0x5c) continue
    let first = at
    while (first > from && text[first - 1] === 0x5c) first--
    const isEscape = (at - first) % 2 === 0
    const length = text[at + 1] === 0x75 ? 6 : 2
    if (isEscape && at + length > end) return at
  }
  return end
}

/** Base64 has none, and it is most of what arrives: to parse it would copy it twice more. */
const hasNoEscapes = /^[^\\\p{Cc}]*$/u

/** Most text is ASCII, which is decoded much faster as latin1. */
const textOf = (bytes: Buffer): string => (isAscii(bytes) ? bytes.toString('latin1') : bytes.toString())

const isBlank = (bytes: Buffer): boolean => /^[ \t\r\n]*$/.test(textOf(bytes))

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalidJson()
  }
}

const longName = (most: number): OrielError =>
  new OrielError('too_large', `The request body has a name that is longer than ${most} bytes.`, {
    code: 'body_too_complex',
  })
