import { Turns } from '../../turns.ts'

/** Bytes that are copied at a time, which takes about a millisecond: the memory is new. */
const pieceBytes = 1_000_000

const turns = new Turns()

/** Puts the chunks of a file together. Whatever else the process does has its time in between. @param length of all chunks */
export async function joinChunks(chunks: readonly Uint8Array[], length: number): Promise<Buffer> {
  const file = Buffer.allocUnsafeSlow(length)
  let at = 0
  let piece = 0
  for (const chunk of chunks) {
    piece += chunk.length
    if (piece > pieceBytes) {
      await turns.next()
      piece = chunk.length
    }
    file.set(chunk, at)
    at += chunk.length
  }
  return file
}
