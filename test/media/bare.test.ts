import sharp from 'sharp'
import { expect, it } from 'vitest'
import { bareFile } from '../../src/media/decoder/bare.ts'
import { inputs } from '../support/long.ts'
import { mutate, seeded } from '../support/mutate.ts'

const formats = ['jpeg', 'png', 'webp', 'gif'] as const
const fileOf = (format: (typeof formats)[number]): Promise<Buffer> => {
  const rgb = Buffer.from(Array.from({ length: 40 * 30 * 3 }, (_, at) => (at * at * 7) % 251))
  return sharp(rgb, { raw: { width: 40, height: 30, channels: 3 } })
    .toFormat(format, { progressive: true })
    .withExif({ IFD0: { Artist: 'somebody' } })
    .withIccProfile('p3')
    .toBuffer()
}
const pixelsOf = (file: Buffer) => sharp(file).raw().toBuffer()

it.each(formats)(
  'a %s without what does not show has the same pixels, and nothing more to leave out',
  async (format) => {
    const file = await fileOf(format)
    const bare = bareFile(format, file)
    expect(bare?.includes('somebody')).toBe(false)
    expect((await pixelsOf(bare ?? file)).equals(await pixelsOf(file))).toBe(true)
    expect(bare && bareFile(format, bare)).toEqual(bare)
    expect(bareFile(format, Buffer.concat([file, Buffer.from('behind')]))).toEqual(bare)
  },
)

it.each(formats)('a %s that was cut off anywhere is written anew', async (format) => {
  const file = bareFile(format, await fileOf(format)) ?? Buffer.alloc(0)
  for (let length = 16; length < file.length - 2; length += inputs(13, 1))
    expect(bareFile(format, file.subarray(0, length)), `${length} of ${file.length} bytes`).toBeNull()
})

it.each(formats)('a damaged %s is written anew, or has nothing more to leave out', async (format) => {
  const seed = await fileOf(format)
  const random = seeded(7)
  for (let round = 0; round < inputs(500, 20_000); round++) {
    const damaged = mutate(seed, random)
    if (damaged.length < 16) continue
    const bare = bareFile(format, damaged)
    if (bare === null) continue
    expect(bare.length).toBeLessThanOrEqual(damaged.length)
    expect(bareFile(format, bare)?.equals(bare)).toBe(true)
  }
})
