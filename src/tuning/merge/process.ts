import { openSync, writeSync } from 'node:fs'
import { toWire, type WireError } from '../../children/index.ts'
import { type HeaderPlan, headerOfMerged } from './header.ts'
import { bytesOfPiece, type Piece } from './piece.ts'

/** What the process writes into a file: what precedes the tensors, or a piece of them. */
export interface MergeTask {
  /** Path of the file, which exists. */
  readonly target: string
  readonly header?: HeaderPlan
  readonly piece?: Piece
}

/** How many bytes were written, or why none were. */
export type MergeAnswer = { readonly bytes: number } | { readonly error: WireError }

const opened = new Map<string, number>()

function open(path: string, flags: 'r' | 'r+' = 'r'): number {
  const file = opened.get(path) ?? openSync(path, flags)
  opened.set(path, file)
  return file
}

function run({ target, header, piece }: MergeTask): MergeAnswer {
  try {
    const file = open(target, 'r+')
    const write = (bytes: Uint8Array, at: number): MergeAnswer => {
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, at + done)
      return { bytes: bytes.length }
    }
    if (header !== undefined) return write(headerOfMerged(header), 0)
    return piece === undefined ? { bytes: 0 } : write(bytesOfPiece(piece, open), piece.to)
  } catch (error) {
    return { error: toWire(error, `A part of the merged file could not be written${codeOf(error)}.`) }
  }
}

/** What the system says, such as that the disk is full. */
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? ` (${error.code})` : ''

process.on('message', (task: MergeTask) => process.send?.(run(task)))
process.once('disconnect', () => process.exit(0))
