import sharp, { type Metadata, type Sharp, type SharpInput, type SharpOptions } from 'sharp'
import { type Animation, playAnimation, readAnimation } from './apng.ts'
import { asStill, checkPages, countPages, maxPagesInFile, withoutExtraChunks } from './containers.ts'
import type { OpenedFile, OpenFile, Raster, Rendered } from './opened-file.ts'
import type { Size } from './protocol.ts'

/** PNG, JPEG, GIF, TIFF, WebP and AVIF, decoded by libvips; and the conversion to sRGB for all formats. */

// An SVG can take minutes and refer to other files; it is never rendered.
sharp.block({ operation: ['VipsForeignLoadSvg'] })
// Every image is new, so libvips' cache would only use memory.
sharp.cache(false)
// There is a decoder process for each core, and each decodes one file at a time.
sharp.concurrency(1)

export const openRaster: OpenFile = async (bytes, format) => {
  const animation = format === 'png' ? readAnimation(bytes, maxPagesInFile) : undefined
  const animated = format === 'gif' || format === 'webp'
  const pages = animated || format === 'tiff' ? countPages(format, bytes) : 1
  const input = format === 'png' ? withoutExtraChunks(bytes) : format === 'avif' ? asStill(bytes) : bytes
  const metadata = await open(input, { page: 0 }).metadata()
  if (animation !== undefined) return openAnimation(animation, metadata.orientation ?? 1)
  // The pages of a TIFF may differ in their sizes and colours.
  const metadataOf = async (page: number) =>
    page === 0 || animated ? metadata : await open(input, { page }).metadata()
  const sizeIn = ({ autoOrient: { width, height } }: typeof metadata): Size => ({ width, height })
  const upright = (metadata.orientation ?? 1) === 1
  return {
    pages,
    noun: animated ? 'frame' : 'page',
    byDefault: 'first',
    size: async (page) => sizeIn(await metadataOf(page)),
    async *render(selected, longestEdge) {
      if (format === 'gif' && pages > 1 && isLonger(sizeIn(metadata), longestEdge)) {
        yield* shrunkApart(input, sizeIn(metadata), selected, longestEdge)
        return
      }
      // libvips decodes an animation from the beginning in each call, so consecutive frames are decoded in one call.
      for (const [first, count] of runs(selected, animated && upright ? selected.length : 1)) {
        const own = await metadataOf(first)
        const original = sizeIn(own)
        const source = open(input, { page: first, pages: count }).autoOrient()
        // By default sharp converts 16-bit pixels with a profile to Display P3.
        if (own.space === 'rgb16' && own.hasProfile) source.pipelineColourspace('srgb')
        const strip = await (isPlainCmyk(own) ? fromPlainCmyk : finish)(source, original, longestEdge)
        yield* slices(strip, first, count, original)
      }
    },
    isPlain: async () =>
      pages === 1 && upright && isUsual(metadata) && (!metadata.hasAlpha || (await isOpaque(open(input, { page: 0 })))),
    close() {},
  }
}

/** Pixels of frames that are decoded in one call. Each takes four bytes. */
const mostTogether = 50_000_000

/**
 * The frames of a GIF, each shrunk by itself: libvips shrinks frames that are decoded in one call as one image, and the rows
 * at their edges mix with those of their neighbours, which are others when some of the frames are decoded again.
 */
async function* shrunkApart(
  input: Buffer,
  { width, height }: Size,
  selected: readonly number[],
  longestEdge: number,
): AsyncGenerator<Rendered> {
  for (const [first, count] of runs(selected, Math.ceil(mostTogether / (width * height)))) {
    const strip = open(input, { page: first, pages: count }).toColourspace('srgb').raw({ depth: 'uchar' })
    const { data, info } = await strip.toBuffer({ resolveWithObject: true })
    const bytes = data.length / count
    for (let i = 0; i < count; i++) {
      const frame = { width, height, channels: info.channels, data: data.subarray(i * bytes, (i + 1) * bytes) }
      yield { ...(await finishRaster(frame, longestEdge)), page: first + i, original: { width, height } }
    }
  }
}

/**
 * A frame builds on the frames before it: all frames up to the last selected one are drawn.
 * @param orientation of Exif
 */
function openAnimation(animation: Animation, orientation: number): OpenedFile {
  const { width, height, frames } = animation
  checkPages(frames.length)
  const original = orientation < 5 ? { width, height } : { width: height, height: width }
  return {
    pages: frames.length,
    noun: 'frame',
    byDefault: 'first',
    size: async () => original,
    async *render(selected, longestEdge) {
      const selection = new Set(selected)
      const drawn = new Map<number, Strip>()
      let page = 0
      for await (const raster of playAnimation(animation, Math.max(...selected))) {
        if (selection.has(page)) drawn.set(page, await finishRaster(raster, longestEdge, orientation))
        page++
      }
      for (const frame of selected) {
        const strip = drawn.get(frame)
        if (strip !== undefined) yield { ...strip, page: frame, original }
      }
    },
    close() {},
  }
}

/** CMYK without a CMYK profile. It is converted by the simplest formula, as other decoders do. */
const isPlainCmyk = ({ space, icc }: Metadata): boolean =>
  space === 'cmyk' && icc?.toString('latin1', 16, 20) !== 'CMYK'

const isUsual = ({ space, depth }: Metadata): boolean => depth === 'uchar' && (space === 'srgb' || space === 'b-w')

/** Screenshots of some systems have an alpha channel that hides nothing. */
async function isOpaque(image: Sharp): Promise<boolean> {
  const alpha = await image.extractChannel('alpha').raw().toBuffer()
  return alpha.equals(Buffer.alloc(alpha.length, 255))
}

const open = (input: SharpInput, options: SharpOptions): Sharp =>
  sharp(input, { failOn: 'error', limitInputPixels: false, sequentialRead: true, ...options })

/** Shrinks raw pixels, blends them onto white and converts them to sRGB. @param orientation of Exif */
export function finishRaster(
  { width, height, channels, data }: Raster,
  longestEdge: number,
  orientation = 1,
): Promise<Strip> {
  const source = sharp(data, { limitInputPixels: false, raw: { width, height, channels } })
  const { flop = false, degrees = 0 } = turns[orientation] ?? {}
  return finish(source.flop(flop).rotate(degrees), { width, height }, longestEdge)
}

/** What makes an image of each orientation upright: it is mirrored, and then turned to the right. */
const turns: Readonly<Record<number, { readonly flop?: true; readonly degrees?: number }>> = {
  ...{ 2: { flop: true }, 3: { degrees: 180 }, 4: { flop: true, degrees: 180 } },
  ...{ 5: { flop: true, degrees: 270 }, 6: { degrees: 90 }, 7: { flop: true, degrees: 90 }, 8: { degrees: 270 } },
}

/** The same for a file that contains one upright image. */
export const finishFile = (file: Buffer, size: Size, longestEdge: number): Promise<Strip> =>
  finish(open(file, {}), size, longestEdge)

/** Frames, one below the other. */
type Strip = Size & { rgb: Uint8Array }

async function finish(source: Sharp, size: Size, longestEdge: number): Promise<Strip> {
  const { data, info } = await shrunk(source, size, longestEdge)
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  if (info.channels !== 3) throw new Error(`libvips produced ${info.channels} channels`)
  return { width: info.width, height: info.height, rgb: data }
}

async function fromPlainCmyk(source: Sharp, size: Size, longestEdge: number): Promise<Strip> {
  const { data, info } = await shrunk(source.pipelineColourspace('cmyk'), size, longestEdge)
    .toColourspace('cmyk')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  const rgb = new Uint8Array(info.width * info.height * 3)
  for (let from = 0, to = 0; to < rgb.length; from += info.channels) {
    const key = 255 - (data[from + 3] ?? 0)
    for (let ink = 0; ink < 3; ink++) rgb[to++] = Math.round(((255 - (data[from + ink] ?? 0)) * key) / 255)
  }
  return { width: info.width, height: info.height, rgb }
}

const isLonger = ({ width, height }: Size, longestEdge: number): boolean => Math.max(width, height) > 2 * longestEdge

function shrunk(source: Sharp, { width, height }: Size, longestEdge: number): Sharp {
  if (!isLonger({ width, height }, longestEdge)) return source
  const edge = 2 * longestEdge
  return source.resize(edge, edge, { fit: 'inside', kernel: 'cubic' })
}

function* slices({ width, height, rgb }: Strip, first: number, count: number, original: Size): Generator<Rendered> {
  const each = height / count
  for (let i = 0; i < count; i++) {
    const frame = rgb.subarray(i * each * width * 3, (i + 1) * each * width * 3)
    yield { width, height: each, rgb: frame, page: first + i, original }
  }
}

/** [4, 5, 6, 2] -> [4, 3], [2, 1] @param longest pages of one run, at most */
function runs(pages: readonly number[], longest: number): [first: number, count: number][] {
  const found: [number, number][] = []
  for (const page of pages) {
    const last = found.at(-1)
    if (last !== undefined && last[0] + last[1] === page && last[1] < longest) last[1]++
    else found.push([page, 1])
  }
  return found
}
