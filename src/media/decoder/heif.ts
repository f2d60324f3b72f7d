import { createRequire } from 'node:module'
import { OrielError } from '../../errors.ts'
import { type OpenFile, type RgbaRaster, singleImage } from './opened-file.ts'
import { profiled } from './profiled.ts'
import { finishFile, finishRaster } from './raster.ts'

/**
 * HEIC, decoded by libheif and libde265 in WebAssembly. The libraries are LGPL and therefore an optional dependency, loaded
 * with the first HEIC file. libheif applies the rotation and mirroring that the container prescribes.
 */
export const openHeif: OpenFile = async (bytes) => {
  const images = load().decode(bytes)
  const image = images.find((candidate) => candidate.is_primary()) ?? images[0]
  if (image === undefined) throw new Error('heif: no image')
  const size = { width: image.get_width(), height: image.get_height() }
  const profile = profileOf(bytes)
  return singleImage(
    size,
    () => display(image, size.width, size.height),
    (raster, longestEdge) =>
      profile === undefined
        ? finishRaster(raster, longestEdge)
        : finishFile(profiled(raster, profile), size, longestEdge),
  )
}

interface HeifImage {
  is_primary(): boolean
  get_width(): number
  get_height(): number
  display(target: HeifPixels, done: (filled: HeifPixels | null) => void): void
}

interface HeifPixels {
  data: Uint8ClampedArray
  width: number
  height: number
}

interface Libheif {
  HeifDecoder: new () => { decode(bytes: Uint8Array): HeifImage[] }
}

let libheif: Libheif | undefined

function load(): InstanceType<Libheif['HeifDecoder']> {
  try {
    libheif ??= createRequire(import.meta.url)('libheif-js/wasm-bundle.js') as Libheif
  } catch (cause) {
    throw new OrielError(
      'unsupported_media',
      'The image is HEIC, and this server was installed without the optional package that decodes HEIC. Send the image as png or jpeg.',
      { code: 'unsupported_image', cause },
    )
  }
  return new libheif.HeifDecoder()
}

async function display(image: HeifImage, width: number, height: number): Promise<RgbaRaster> {
  const data = new Uint8ClampedArray(width * height * 4)
  const filled = await new Promise<HeifPixels | null>((resolve) => image.display({ data, width, height }, resolve))
  if (filled === null) throw new Error('heif: cannot be decoded')
  return { width, height, channels: 4, data: new Uint8Array(data.buffer) }
}

/** The first ICC profile of the file. libheif-js does not return it. */
function profileOf(bytes: Buffer): Buffer | undefined {
  const found = ['meta', 'iprp', 'ipco', 'colr'].reduce<Buffer | undefined>(
    // `meta` has a version and flags before its boxes; `iprp` is the first box looked up inside it.
    (outer, type) => outer && contentOf(type === 'iprp' ? outer.subarray(4) : outer, type),
    bytes,
  )
  const kind = found?.toString('latin1', 0, 4)
  return kind === 'prof' || kind === 'rICC' ? found?.subarray(4) : undefined
}

/** The content of the first box of a type. A `colr` box without an ICC profile is skipped. */
function contentOf(boxes: Buffer, type: string): Buffer | undefined {
  for (let at = 0; at + 8 <= boxes.length; ) {
    const size = boxes.readUInt32BE(at)
    if (size < 8) return undefined
    const content = boxes.subarray(at + 8, at + size)
    const wanted = boxes.toString('latin1', at + 4, at + 8) === type
    if (wanted && !(type === 'colr' && content.toString('latin1', 0, 4) === 'nclx')) return content
    at += size
  }
  return undefined
}
