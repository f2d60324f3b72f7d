import type { Received } from '../target.ts'

/** The first bytes of a body, at most so many. The rest is not read. */
export async function bytesOf(body: Received['body'], most: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  try {
    for await (const piece of body) {
      pieces.push(piece)
      length += piece.byteLength
      if (length >= most) break
    }
  } finally {
    body.cancel()
  }
  return Buffer.concat(pieces).subarray(0, most)
}
