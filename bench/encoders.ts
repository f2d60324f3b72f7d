import sharp from 'sharp'
import type { Family } from '../test/encoders/oracle/families.ts'
import { peerEncodeTime } from './encode.ts'
import { median } from './figures.ts'
import { newImage } from './images.ts'
import { machine } from './machine.ts'
import { fillReadme, machineText, markdownTable } from './report.ts'

/**
 * Compares the image encoders of all families with libmtmd's: `npx tsx bench/encoders.ts [families]`. It inserts the table into
 * bench/README.md if it measures all of them. The towers are those of the fixtures, but as wide as real ones, in 16 bits.
 */
process.env.TOWER_WIDTH ??= '1024'
const { families } = await import('../test/encoders/oracle/families.ts')
const { openFiles } = await import('../test/encoders/oracle/files.ts')
const { openImageEncoder, tilesOf } = await import('../src/encoders/index.ts')

const threads = 2
const runs = 5
/** An image that a dynamic encoder of 14 pixels a patch sees as about a thousand patches. */
const size = { width: 448, height: 448 }
/** Milliseconds below which a difference is that of the calls around the encoder. */
const smallest = 1

interface Line {
  name: string
  tiles: number
  tokens: number
  /** Times in ms. */
  peer: number
  fp32: number
  installed: number
}

async function measure(family: Family, image: string): Promise<Line> {
  const files = openFiles(family)
  const jpeg = Buffer.from(image.slice(image.indexOf(',') + 1), 'base64')
  const rgb = await sharp(jpeg).raw().toBuffer()
  const open = async (precision: 'fp32' | 'auto') => {
    const encoder = await openImageEncoder(files.projector, { runtime: 'onnx', precision, threads })
    const { architecture } = encoder
    const encode = async () => {
      const start = performance.now()
      const plan = architecture.plan(size, 'auto')
      const scaled = architecture.scale({ ...size, rgb }, plan)
      for (const tile of tilesOf(plan)) await encoder.encode(scaled, tile, threads)
      return performance.now() - start
    }
    await encode()
    const tiles = tilesOf(architecture.plan(size, 'auto'))
    return { encode, tiles: tiles.length, tokens: tiles.reduce((sum, tile) => sum + tile.tokens, 0), encoder }
  }
  const [fp32, installed] = [await open('fp32'), await open('auto')]
  const samples = { peer: [] as number[], fp32: [] as number[], installed: [] as number[] }
  for (let run = 0; run < runs; run++) {
    samples.peer.push(await peerEncodeTime(files, image, threads))
    samples.fp32.push(await fp32.encode())
    samples.installed.push(await installed.encode())
  }
  await Promise.all([fp32.encoder.close(), installed.encoder.close()])
  files.remove()
  return {
    ...{ name: family.name, tiles: fp32.tiles, tokens: fp32.tokens },
    ...{ peer: median(samples.peer), fp32: median(samples.fp32), installed: median(samples.installed) },
  }
}

const columns = ['family', 'tiles', 'tokens', 'libmtmd', 'Oriel, fp32', 'ratio', 'Oriel, as installed', 'ratio']

const cellsOf = ({ name, tiles, tokens, peer, fp32, installed }: Line): string[] => [
  ...[name, `${tiles}`, `${tokens}`, timeOf(peer)],
  ...[fp32, installed].flatMap((ours) => [timeOf(ours), ratioOf(ours, peer)]),
]

const timeOf = (ms: number): string => (ms >= 100 ? ms.toFixed(0) : ms.toFixed(1))

const ratioOf = (ours: number, theirs: number): string =>
  ours < smallest && theirs < smallest ? '–' : (ours / theirs).toFixed(2)

const asked = process.argv.slice(2)
const image = await newImage(size.width, size.height)
const lines: Line[] = []
for (const family of families.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
  const line = await measure(family, image)
  console.log(cellsOf(line).join('  '))
  lines.push(line)
}
if (asked.length === 0)
  fillReadme(
    'encoders',
    `${machineText(machine())}; ${threads} threads, medians of ${runs}, in ms.\n\n${markdownTable([columns, ...lines.map(cellsOf)])}`,
  )
