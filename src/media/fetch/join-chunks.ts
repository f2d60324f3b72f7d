import { Turns } from '../../turns.ts'

/** Bytes that are copied at a time, which takes about a millisecond: the memory is new. */
const pieceBytes = 1_000_000

/** Smaller chunks are put together. */
const smallBytes = 16_000

const turns = new Turns()

/** What has come of a file. Its host decides how small the chunks are, and one of a byte would take hundreds. */
export class ArrivedChunks {
  readonly #chunks: Buffer[] = []
  /** The small ones since the last large one. */
  readonly #block = Buffer.allocUnsafeSlow(smallBytes)
  #blockBytes = 0
  length = 0

  add(chunk: Buffer): void {
    this.length += chunk.length
    if (this.#blockBytes + chunk.length > smallBytes) this.#endBlock()
    if (chunk.length > smallBytes) this.#chunks.push(chunk)
    else this.#blockBytes += chunk.copy(this.#block, this.#blockBytes)
  }

  /** All of it, in few chunks. */
  get chunks(): readonly Buffer[] {
    return [...this.#chunks, this.#block.subarray(0, this.#blockBytes)]
  }

  #endBlock(): void {
    if (this.#blockBytes === 0) return
    this.#chunks.push(Buffer.from(this.#block.subarray(0, this.#blockBytes)))
    this.#blockBytes = 0
  }
}

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
