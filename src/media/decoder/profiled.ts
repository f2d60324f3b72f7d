import type { RgbaRaster } from './opened-file.ts'

/**
 * Writes RGBA pixels and their ICC profile as an uncompressed TIFF: libvips accepts a profile only as part of a file, and
 * these pixels were decoded by another library.
 */
export function profiled({ width, height, data }: RgbaRaster, profile: Buffer): Buffer {
  const entries: [tag: number, type: number, count: number, value: number][] = [
    [256, long, 1, width],
    [257, long, 1, height],
    [258, short, 4, bitsAt],
    [259, short, 1, 1],
    [262, short, 1, 2],
    [273, long, 1, profileAt + profile.length],
    [277, short, 1, 4],
    [278, long, 1, height],
    [279, long, 1, data.length],
    [338, short, 1, 2],
    [34675, bytes, profile.length, profileAt],
  ]
  const head = Buffer.alloc(profileAt)
  head.write('II*\0', 'latin1')
  head.writeUInt32LE(8, 4)
  head.writeUInt16LE(entries.length, 8)
  for (const [index, [tag, type, count, value]] of entries.entries()) {
    const at = 10 + index * 12
    head.writeUInt16LE(tag, at)
    head.writeUInt16LE(type, at + 2)
    head.writeUInt32LE(count, at + 4)
    head.writeUInt32LE(value, at + 8)
  }
  for (let channel = 0; channel < 4; channel++) head.writeUInt16LE(8, bitsAt + channel * 2)
  return Buffer.concat([head, profile, data])
}

/** Field types of TIFF 6. */
const [short, long, bytes] = [3, 4, 7]
/** After the header and eleven entries. */
const bitsAt = 8 + 2 + 11 * 12 + 4
const profileAt = bitsAt + 8
