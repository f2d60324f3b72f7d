/** The images of the fixtures: [width, height] */
export const sizes = [
  [1, 1],
  [30, 500],
  [64, 64],
  [65, 64],
  [100, 37],
  [128, 128],
  [200, 150],
  [300, 400],
  [640, 480],
  [1000, 30],
  [4000, 300],
] as const

const painted = new Map<string, Uint8Array>()

/** Waves of different lengths in each channel, with an edge: `[height, width, 3]` */
export function testImage(width: number, height: number): Uint8Array {
  const name = `${width}x${height}`
  const rgb = painted.get(name) ?? paint(width, height)
  painted.set(name, rgb)
  return rgb.slice()
}

/** Two frames of a video: the image, and its negative. */
export function testFrames(width: number, height: number): [Uint8Array, Uint8Array] {
  const rgb = testImage(width, height)
  return [rgb, rgb.map((value) => 255 - value)]
}

function paint(width: number, height: number): Uint8Array {
  const rgb = new Uint8Array(width * height * 3)
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const edge = x * 3 > width && y * 2 < height ? 60 : 0
      rgb[at++] = 100 + edge + Math.round(80 * Math.sin(x / 7 + y / 31))
      rgb[at++] = 90 + edge + Math.round(90 * Math.cos(x / 23 - y / 5))
      rgb[at++] = (x * 5 + y * 3) % 256
    }
  return rgb
}
