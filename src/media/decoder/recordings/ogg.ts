/** A page of an Ogg file (RFC 3533). */
export interface OggPage {
  readonly at: number
  /** Whether it is the first of its stream. */
  readonly isFirst: boolean
  /** The number of its stream. */
  readonly stream: number
  /** Packets, or parts of them. */
  readonly body: Buffer
}

/** The pages up to what is none. */
export function* oggPages(bytes: Buffer): Generator<OggPage> {
  for (let at = 0; bytes.toString('latin1', at, at + 4) === 'OggS' && at + headBytes <= bytes.length; ) {
    const segments = bytes.readUInt8(at + 26)
    const lengths = bytes.subarray(at + headBytes, at + headBytes + segments)
    const start = at + headBytes + segments
    const end = start + lengths.reduce((sum, length) => sum + length, 0)
    const isFirst = (bytes.readUInt8(at + 5) & 2) !== 0
    yield { at, isFirst, stream: bytes.readUInt32LE(at + 14), body: bytes.subarray(start, end) }
    at = end
  }
}

/** Before the lengths of a page's segments. */
const headBytes = 27

/** The FLAC file that is in an Ogg file (RFC 9639, section 10.1); null for another one. */
export function flacIn(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = []
  let stream: number | undefined
  for (const page of oggPages(bytes)) {
    if (stream === undefined) {
      if (page.body.toString('latin1', 0, 5) !== '\x7fFLAC') return null
      stream = page.stream
      // Behind the version and the number of headers there is the beginning of a FLAC file.
      parts.push(page.body.subarray(9))
    } else if (page.stream === stream) parts.push(page.body)
  }
  return stream === undefined ? null : Buffer.concat(parts)
}
