import sharp from 'sharp'

/** A JPEG as a data URL. */
export type Image = string

/**
 * Generates a random image of coloured clouds with grain. More grain makes a larger JPEG. Generate images before a
 * measurement starts.
 */
export async function newImage(width = 512, height = 512, grain = 4): Promise<Image> {
  const clouds = { width: 12, height: 9 }
  const colours = sharp(randomBytes(clouds.width * clouds.height * 3), { raw: { ...clouds, channels: 3 } })
  const rgb = await colours.resize(width, height, { fit: 'fill', kernel: 'cubic' }).raw().toBuffer()
  for (let at = 0; at < rgb.length; at++) rgb[at] = clamp((rgb[at] ?? 0) + (Math.random() - 0.5) * grain)
  const jpeg = await sharp(rgb, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer()
  return `data:image/jpeg;base64,${jpeg.toString('base64')}`
}

export const newImages = (count: number): Promise<Image[]> =>
  Promise.all(Array.from({ length: count }, () => newImage()))

/** @returns the time of the library that Oriel decodes with, in ms, for the pixels of an image */
export async function decodingTime(image: Image): Promise<number> {
  const start = performance.now()
  await sharp(Buffer.from(image.slice(image.indexOf(',') + 1), 'base64'))
    .raw()
    .toBuffer()
  return performance.now() - start
}

const randomBytes = (count: number): Uint8Array => Uint8Array.from({ length: count }, () => Math.random() * 256)

const clamp = (value: number): number => Math.max(0, Math.min(255, Math.round(value)))
