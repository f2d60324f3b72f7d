import { writeFileSync } from 'node:fs'
import path from 'node:path'
import sharp from 'sharp'
import { jsonl } from './examples.ts'
import { colours } from './images.ts'

/** Colours that the built-in model names. */
const paints = ['red', 'green', 'blue', 'yellow', 'purple'] as const
/** The second one it does not know: it is no shape that it was trained on. */
const kinds = ['circle', 'leaf'] as const

/**
 * Writes pictures of parts and a dataset that names them, each by a path, in a style that the built-in model does not have.
 * @param seed another gives other places and sizes
 */
export async function writeParts(folder: string, name: string, count: number, seed: number): Promise<void> {
  const random = randomOf(seed)
  const lines: object[] = []
  for (let index = 0; index < count; index++) {
    const [kind, paint] = [kinds[index % 2] ?? 'circle', paints[Math.floor(index / 2) % paints.length] ?? 'red']
    const file = `${name}-${index + 1}.png`
    writeFileSync(path.join(folder, file), await picture(kind, paint, random))
    const question = [
      { type: 'image_url', image_url: { url: file } },
      { type: 'text', text: 'Which part is it?' },
    ]
    lines.push({
      messages: [
        { role: 'user', content: question },
        { role: 'assistant', content: `- ${paint} ${kind}` },
      ],
    })
  }
  writeFileSync(path.join(folder, `${name}.jsonl`), jsonl(lines))
}

const size = 128

function picture(kind: (typeof kinds)[number], paint: keyof typeof colours, random: () => number): Promise<Buffer> {
  const radius = 22 + 22 * random()
  const [x, y] = [radius + (size - 2 * radius) * random(), radius + (size - 2 * radius) * random()]
  const fill = `rgb(${colours[paint].join(',')})`
  const shape =
    kind === 'circle'
      ? `<circle cx="${x}" cy="${y}" r="${radius}" fill="${fill}"/>`
      : `<path d="M ${x - radius} ${y} Q ${x} ${y - radius} ${x + radius} ${y} Q ${x} ${y + radius} ${x - radius} ${y}" fill="${fill}"/>`
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><rect width="100%" height="100%" fill="white"/>${shape}</svg>`
  return sharp(Buffer.from(svg)).png().toBuffer()
}

/** Numbers from 0 to 1, the same for a seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}
