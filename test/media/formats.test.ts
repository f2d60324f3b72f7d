import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { animated, orientationChunk } from './apng.ts'
import { corpus, make, missingEncoder, prepare, unread } from './corpus.ts'
import { openMedia } from './media.ts'
import { distance, sources } from './sources.ts'

const missing = missingEncoder()
const skipNote = missing === undefined ? '' : ` (skipped: ${missing} is not installed)`

describe.skipIf(missing !== undefined)(`every format and variant${skipNote}`, () => {
  const { loadOne, close } = openMedia()
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-corpus-'))
    await prepare(folder)
  })
  afterAll(async () => {
    await close()
    await rm(folder, { recursive: true })
  })

  it.for(corpus)('$name', async (specimen) => {
    const file = await make(specimen, folder)
    const { images, format } = await loadOne(file)
    expect(specimen.name).toContain(format)
    expect(images).toHaveLength(1)
    for (const image of images) {
      const { max, mean } = distance(image, specimen.shows)
      expect(max).toBeLessThanOrEqual(specimen.within.max)
      expect(mean).toBeLessThanOrEqual(specimen.within.mean)
    }
  })

  it.for(unread)('%s is refused as an unsupported variant, not as damaged', async ([, command]) => {
    await expect(loadOne(await make({ command }, folder))).rejects.toMatchObject({
      kind: 'unsupported_media',
      message: expect.stringMatching(
        /its tiff data uses a variant of the format that is not supported\. Send the image as png or jpeg\./,
      ),
    })
  })

  it('jpeg, CMYK without a profile, as only libvips writes it', async () => {
    const inks = await make({ command: 'convert -size 70x52 -depth 8 cmyk:cmyk.raw tiff:@' }, folder)
    const jpeg = sharp(inks).pipelineColourspace('cmyk').toColourspace('cmyk')
    const { images } = await loadOne(await jpeg.jpeg({ quality: 97, chromaSubsampling: '4:4:4' }).toBuffer())
    for (const image of images) expect(distance(image, sources.rgb).mean).toBeLessThan(3)
  })
})

/** Written by hand, because no encoder of the corpus writes them. */
describe('bmp variants written by hand', () => {
  const { loadOne, close } = openMedia()
  afterAll(() => close())
  const [black, red, green] = [
    [0, 0, 0],
    [255, 0, 0],
    [0, 255, 0],
  ]
  const [blue, yellow, white] = [
    [0, 0, 255],
    [255, 255, 0],
    [255, 255, 255],
  ]

  function bmp(
    width: number,
    height: number,
    bits: number,
    compression: number,
    extra: number[],
    data: number[],
  ): Buffer {
    const head = Buffer.alloc(54)
    head.write('BM')
    head.writeUInt32LE(54 + extra.length, 10)
    head.writeUInt32LE(40, 14)
    head.writeInt32LE(width, 18)
    head.writeInt32LE(height, 22)
    head.writeUInt16LE(1, 26)
    head.writeUInt16LE(bits, 28)
    head.writeUInt32LE(compression, 30)
    return Buffer.concat([head, Buffer.from([...extra, ...data])])
  }
  /** Blue, green, red, unused. */
  const palette = [0, 0, 0, 0, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, ...Array.from({ length: 48 }, () => 9)]
  const masks = (...of: number[]): number[] => [...Buffer.from(Uint32Array.from(of).buffer)]

  const files: [what: string, file: Buffer, pixels: (number[] | undefined)[]][] = [
    [
      '4-bit run-length encoding: a run of two colours, literal pixels, a skip, an early end of a row',
      bmp(6, 2, 4, 2, palette, [5, 0x12, 0, 0, 0, 3, 0x32, 0x10, 0, 2, 2, 0, 1, 0x20, 0, 1]),
      [blue, green, red, black, black, green, red, green, red, green, red, black],
    ],
    [
      '8-bit run-length encoding: literal pixels, a run, a skip',
      bmp(5, 1, 8, 1, palette, [0, 3, 1, 2, 3, 0, 0, 2, 1, 0, 1, 1, 0, 1]),
      [red, green, blue, black, red],
    ],
    ['2 bits', bmp(4, 1, 2, 0, palette.slice(0, 16), [0b00011011, 0, 0, 0]), [black, red, green, blue]],
    ['rows from top to bottom', bmp(1, -2, 24, 0, [], [0, 0, 255, 0, 0, 255, 0, 0]), [red, green]],
    ['16 bits, 555 without masks', bmp(2, 1, 16, 0, [], [0x00, 0x7c, 0xe0, 0x03]), [red, green]],
    [
      '16 bits, 4444 with alpha',
      bmp(2, 1, 16, 6, masks(0xf00, 0xf0, 0xf, 0xf000), [0x00, 0xff, 0x0f, 0x00]),
      [red, white],
    ],
    [
      '32 bits, masks in another order',
      bmp(2, 1, 32, 3, masks(0xff, 0xff00, 0xff0000), [255, 0, 0, 0, 255, 255, 0, 0]),
      [red, yellow],
    ],
    ['32 bits with an alpha channel of zeros', bmp(2, 1, 32, 0, [], [0, 0, 255, 0, 255, 0, 0, 0]), [red, blue]],
  ]
  it.for(files)('%s', async ([, file, pixels]) => {
    const { images } = await loadOne(file)
    expect(Array.from(images[0]?.rgb ?? [])).toEqual(pixels.flat())
  })
})

describe('an animated png written by hand', () => {
  const { loadOne, close } = openMedia()
  afterAll(() => close())
  const [width, height] = [40, 30]
  const frame = (seed: number): Promise<Buffer> => {
    const rgb = Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * at * 31 + at * seed) & 255)
    return sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer()
  }

  it.for([1, 2, 3, 4, 5, 6, 7, 8])('is as upright as a still one, with the orientation %d', async (orientation) => {
    const frames = await Promise.all([1, 2, 3].map(frame))
    const exif = orientationChunk(orientation)
    const stills = frames.map((still) => Buffer.concat([still.subarray(0, 33), exif, still.subarray(33)]))
    for (const longestEdge of [100, 12]) {
      const { images } = await loadOne(animated(frames, exif), 'all', longestEdge)
      expect(images).toHaveLength(3)
      for (const [index, image] of images.entries()) {
        const [still] = (await loadOne(stills[index] ?? '', undefined, longestEdge)).images
        expect(image).toMatchObject({ original: still?.original, width: still?.width, height: still?.height })
        // What is shrunk before it is turned may be rounded otherwise.
        expect(distance(image, still ?? image).max).toBeLessThanOrEqual(longestEdge === 100 ? 0 : 1)
      }
    }
  })
})
