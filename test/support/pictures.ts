import sharp from 'sharp'

export const colours = {
  red: [220, 30, 30],
  green: [30, 160, 50],
  blue: [40, 70, 220],
  yellow: [245, 215, 30],
  orange: [245, 130, 20],
  purple: [130, 40, 170],
  pink: [250, 130, 190],
  brown: [120, 70, 30],
} as const

export type Colour = keyof typeof colours

/** A picture as a person would send it: one large shape in the middle. */
export async function shape(
  colour: Colour,
  kind: 'circle' | 'square' = 'circle',
  size = 192,
  background = 'white',
): Promise<Buffer> {
  const fill = `rgb(${colours[colour].join(',')})`
  const half = size / 2
  const figure =
    kind === 'circle'
      ? `<circle cx="${half}" cy="${half}" r="${size * 0.32}" fill="${fill}"/>`
      : `<rect x="${size * 0.22}" y="${size * 0.22}" width="${size * 0.56}" height="${size * 0.56}" fill="${fill}"/>`
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><rect width="100%" height="100%" fill="${background}"/>${figure}</svg>`
  return rasterise(svg)
}

export const dataUrl = (bytes: Buffer, type = 'image/png'): string => `data:${type};base64,${bytes.toString('base64')}`

async function rasterise(svg: string): Promise<Buffer> {
  sharp.unblock({ operation: ['VipsForeignLoadSvg'] })
  try {
    return await sharp(Buffer.from(svg)).png().toBuffer()
  } finally {
    sharp.block({ operation: ['VipsForeignLoadSvg'] })
  }
}
