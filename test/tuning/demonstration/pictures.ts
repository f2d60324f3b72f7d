import sharp from 'sharp'
import { type Colour, colours } from '../../support/images.ts'

/** Shapes as SVG draws them, in a square from -1 to 1. The built-in model has never seen a leaf, and takes it for another shape. */
const shapes = {
  leaf: '<path d="M-1,1 L-0.72,0.72 Q-1,-0.85 0.95,-0.95 Q0.85,1 -0.72,0.72Z"/>',
  circle: '<circle r="0.9"/>',
  square: '<rect x="-0.8" y="-0.8" width="1.6" height="1.6"/>',
  triangle: '<polygon points="0,-1 1,0.8 -1,0.8"/>',
  star: '<polygon points="0,-1.1 0.26,-0.36 1.05,-0.34 0.43,0.14 0.65,0.89 0,0.45 -0.65,0.89 -0.43,0.14 -1.05,-0.34 -0.26,-0.36"/>',
  cross: '<path d="M-1,-0.35H-0.35V-1H0.35V-0.35H1V0.35H0.35V1H-0.35V0.35H-1Z"/>',
} as const

export type Shape = keyof typeof shapes

export interface Labelled {
  readonly picture: Buffer
  readonly shape: Shape
  readonly colour: Colour
}

/** Numbers from 0 to 1, the same for the same seed. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** Pictures of one shape each, of which every second is a leaf: other sizes, places, colours and turns for each. */
export async function labelledPictures(count: number, seed: number): Promise<Labelled[]> {
  const next = numbers(seed)
  const among = <T>(all: readonly T[]): T => all[Math.floor(next() * all.length)] as T
  const others = (Object.keys(shapes) as Shape[]).filter((shape) => shape !== 'leaf')
  return Promise.all(
    Array.from({ length: count }, async (_, at) => {
      const shape = at % 2 === 0 ? 'leaf' : among(others)
      const colour = among(Object.keys(colours) as Colour[])
      const size = 120 + Math.floor(next() * 140)
      const half = size * (0.2 + 0.18 * next())
      const [x, y] = [half * 1.15 + next() * (size - 2.3 * half), half * 1.15 + next() * (size - 2.3 * half)]
      const turn = (next() - 0.5) * 16
      const background = among(['#fafafa', '#ececec', '#fdf8ec'])
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><rect width="100%" height="100%" fill="${background}"/><g transform="translate(${x} ${y}) rotate(${turn}) scale(${half})" fill="rgb(${colours[colour]})">${shapes[shape]}</g></svg>`
      return { picture: await sharp(Buffer.from(svg)).png().toBuffer(), shape, colour }
    }),
  )
}

/** A way to answer that the built-in model does not have. Its words are made of tokens that it has learned. */
export const labelOf = ({ shape, colour }: Pick<Labelled, 'shape' | 'colour'>): string => `- ${colour} ${shape}`

export const question = 'What is this? Answer with its label.'
