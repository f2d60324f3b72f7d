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

/** Unknown to the built-in model, which takes it for green. */
export const teal = [0, 110, 105] as const

/** A PNG of a large shape on a white background. */
export function shape(colour: Colour | typeof teal, kind: 'circle' | 'square' = 'circle', size = 192): Promise<Buffer> {
  const paint = typeof colour === 'string' ? colours[colour] : colour
  const rgb = Buffer.alloc(size * size * 3, 250)
  const middle = (size - 1) / 2
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const [dx, dy] = [Math.abs(x - middle) / size, Math.abs(y - middle) / size]
      if (kind === 'circle' ? Math.hypot(dx, dy) < 0.3 : Math.max(dx, dy) < 0.26) rgb.set(paint, (y * size + x) * 3)
    }
  return sharp(rgb, { raw: { width: size, height: size, channels: 3 } })
    .png()
    .toBuffer()
}

export const dataUrl = (bytes: Buffer, type = 'image/png'): string => `data:${type};base64,${bytes.toString('base64')}`
