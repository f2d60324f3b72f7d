import { readSync } from 'node:fs'

/**
 * Reads so many bytes of a file as an array has.
 * @param file a descriptor
 * @param at where they begin
 * @param short makes the error for a file that ends before
 */
export function readAt<Bytes extends Uint8Array>(file: number, into: Bytes, at: number, short: () => Error): Bytes {
  for (let got = 0; got < into.length; ) {
    const read = readSync(file, into, got, into.length - got, at + got)
    if (read === 0) throw short()
    got += read
  }
  return into
}
