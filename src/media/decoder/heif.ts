import { createRequire } from 'node:module'
import { OrielError } from '../../errors.ts'
import { type OpenFile, type Raster, singlePicture } from './opened-file.ts'
import { finishRaster } from './raster.ts'

/**
 * HEIC by libheif and libde265, compiled to WebAssembly. They are LGPL, so they are an optional dependency that is loaded
 * when the first such file comes. libheif turns and mirrors pictures itself, as their container says.
 */
export const openHeif: OpenFile = async (bytes) => {
  const image = load().decode(bytes)[0]
  if (image === undefined) throw new Error('heif: no picture')
  const size = { width: image.get_width(), height: image.get_height() }
  return singlePicture(size, () => display(image, size.width, size.height), finishRaster)
}

interface HeifImage {
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
      'The picture is HEIC, and this server was installed without the optional package that reads it. Send it as jpeg or png.',
      { code: 'unsupported_image', cause },
    )
  }
  return new libheif.HeifDecoder()
}

async function display(image: HeifImage, width: number, height: number): Promise<Raster> {
  const data = new Uint8ClampedArray(width * height * 4)
  const filled = await new Promise<HeifPixels | null>((resolve) => image.display({ data, width, height }, resolve))
  if (filled === null) throw new Error('heif: cannot be decoded')
  return { width, height, channels: 4, data: new Uint8Array(data.buffer) }
}
