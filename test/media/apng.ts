import { pngBlocks } from '../../src/media/decoder/blocks.ts'
import { chunk } from './bombs.ts'

const big32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index)
  return bytes
}

/** An animated PNG, each frame of which covers the one before it. @param frames PNG files of one size and kind @param more chunks */
export function animated(frames: readonly Buffer[], ...more: Buffer[]): Buffer {
  const [first = Buffer.alloc(0)] = frames
  let sequence = 0
  const parts = frames.flatMap((frame, index) => {
    const control = big32(sequence++, frame.readUInt32BE(16), frame.readUInt32BE(20), 0, 0)
    const data = Buffer.concat(
      [...pngBlocks(frame)].filter(({ type }) => type === 'IDAT').map(({ at, end }) => frame.subarray(at + 8, end - 4)),
    )
    return [
      chunk('fcTL', Buffer.concat([control, Buffer.from([0, 1, 0, 10, 0, 0])])),
      index === 0 ? chunk('IDAT', data) : chunk('fdAT', Buffer.concat([big32(sequence++), data])),
    ]
  })
  const announcement = chunk('acTL', big32(frames.length, 0))
  return Buffer.concat([first.subarray(0, 33), announcement, ...more, ...parts, chunk('IEND', Buffer.alloc(0))])
}

/** The chunk of a PNG that says which way is up. */
export const orientationChunk = (orientation: number): Buffer =>
  chunk(
    'eXIf',
    Buffer.concat([Buffer.from('MM\0*'), big32(8), Buffer.from([0, 1, 1, 0x12, 0, 3]), big32(1, orientation << 16, 0)]),
  )
