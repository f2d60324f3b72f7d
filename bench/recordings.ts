import { audioRate } from '../src/encoders/index.ts'
import type { Family } from '../test/encoders/oracle/families.ts'
import { peerRawTime, type RawInput } from './encode.ts'
import { median } from './figures.ts'
import { machine } from './machine.ts'
import { fillReadme, machineText, markdownTable } from './report.ts'

/**
 * Compares the audio encoders with libmtmd's, and the frames of a video: `npx tsx bench/recordings.ts [families]`. It inserts
 * the table into bench/README.md unless it is told which to measure. The encoders are those of the fixtures, but as wide as real
 * ones, in 16 bits, with 4 layers.
 */
process.env.TOWER_WIDTH ??= '1280'
const { hearing } = await import('../test/encoders/oracle/hearing.ts')
const { watching } = await import('../test/encoders/oracle/watching.ts')
const { openFiles } = await import('../test/encoders/oracle/files.ts')
const { testSound } = await import('../test/encoders/oracle/sounds.ts')
const { testImage } = await import('../test/encoders/oracle/images.ts')
const { chunksOf, heardAtOnce, openAudioEncoder, openImageEncoder, tilesOf } = await import('../src/encoders/index.ts')

const threads = 2
const runs = 3
const sound = testSound(30 * audioRate)
/** A minute at one frame a second, in the size to which a video is shrunk. */
const video = { width: 512, height: 288, frames: 60 }
/** Squares of pixels that become one embedding: `detail: low`. */
const mostTokens = 64

interface Line {
  name: string
  what: string
  tokens: number
  /** Times in ms. */
  peer: number
  fp32: number
  installed: number
  /** Bytes by which the process grew while it encoded, after the first part. */
  growth: number
}

/** An encoder that is opened, and what it encodes. */
interface Opened {
  tokens: number
  /** @param parts only the first ones, to warm up */
  encode(parts?: number): Promise<void>
  close(): Promise<void>
}

type Precision = 'fp32' | 'auto'

async function ears(projector: string, precision: Precision): Promise<Opened> {
  const encoder = await openAudioEncoder(projector, { runtime: 'onnx', precision, threads })
  const chunks = chunksOf(encoder.architecture.plan(sound.length))
  return {
    tokens: chunks.reduce((sum, chunk) => sum + chunk.tokens, 0),
    async encode(parts = chunks.length) {
      const heard = heardAtOnce(encoder.architecture.listen(sound))
      for (const chunk of chunks.slice(0, parts)) await encoder.encode(heard, chunk, threads)
    },
    close: () => encoder.close(),
  }
}

async function eyes(projector: string, precision: Precision, rasters: readonly Uint8Array[]): Promise<Opened> {
  const encoder = await openImageEncoder(projector, { runtime: 'onnx', precision, threads })
  const { architecture } = encoder
  const { width, height } = video
  const plan = architecture.plan({ width, height }, 'low', { frame: true })
  const [tile] = tilesOf(plan)
  if (tile === undefined) throw new Error('no tile')
  const views = Array.from({ length: rasters.length / 2 }, (_, view) => rasters.slice(view * 2, view * 2 + 2))
  return {
    tokens: views.length * tile.tokens,
    async encode(parts = views.length) {
      for (const view of views.slice(0, parts)) {
        const scaled = view.flatMap((rgb) => architecture.scale({ width, height, rgb }, plan))
        await encoder.encode(scaled, tile, threads)
      }
    },
    close: () => encoder.close(),
  }
}

async function measure(
  { name, write }: Family,
  what: string,
  raw: RawInput,
  open: (projector: string, precision: Precision) => Promise<Opened>,
  most = 0,
): Promise<Line> {
  const files = openFiles({ name, write })
  const [fp32, installed] = [await open(files.projector, 'fp32'), await open(files.projector, 'auto')]
  for (const opened of [fp32, installed]) await opened.encode(1)
  const before = process.memoryUsage.rss()
  const samples = { peer: [] as number[], fp32: [] as number[], installed: [] as number[] }
  // A video is a measurement of each of its frames.
  for (let run = 0; run < (raw.frames === undefined ? runs : 1); run++) {
    samples.peer.push(await peerRawTime({ ...files, patches: { least: 0, most } }, raw, threads))
    samples.fp32.push(await timed(fp32))
    samples.installed.push(await timed(installed))
  }
  const growth = process.memoryUsage.rss() - before
  await Promise.all([fp32.close(), installed.close()])
  files.remove()
  return {
    ...{ name, what, tokens: fp32.tokens, growth },
    ...{ peer: median(samples.peer), fp32: median(samples.fp32), installed: median(samples.installed) },
  }
}

async function timed({ encode }: Opened): Promise<number> {
  const start = performance.now()
  await encode()
  return performance.now() - start
}

const columns = ['family', 'of', 'tokens', 'libmtmd', 'Oriel, fp32', 'ratio', 'Oriel, as installed', 'ratio']

const cellsOf = ({ name, what, tokens, peer, fp32, installed }: Line): string[] => [
  ...[name, what, `${tokens}`, peer.toFixed(0)],
  ...[fp32, installed].flatMap((ours) => [ours.toFixed(0), (ours / peer).toFixed(2)]),
]

/** One of each tower. */
const usual = ['ultravox', 'qwen3a', 'gemma4a', 'lfm2a', 'granite_speech', 'qwen2.5vl-frames']
const asked = process.argv.length > 2 ? process.argv.slice(2) : usual
const isAsked = ({ name }: Family): boolean => asked.includes(name)
const lines: Line[] = []
const told = (line: Line): void => {
  console.log(cellsOf(line).join('  '))
  lines.push(line)
}
const soundBytes = { bytes: new Uint8Array(sound.buffer), width: sound.length, height: 0 }
for (const family of hearing.filter(isAsked)) told(await measure(family, '30 s', soundBytes, ears))
const { width, height, frames } = video
const picture = testImage(width, height)
const rasters = Array.from({ length: frames }, (_, frame) => picture.map((value) => (value + 3 * frame) % 256))
const videoBytes = { bytes: Buffer.concat(rasters), ...video }
for (const family of watching.filter(isAsked))
  told(
    await measure(
      family,
      `${frames} frames`,
      videoBytes,
      (file, precision) => eyes(file, precision, rasters),
      mostTokens,
    ),
  )
const growth = Math.max(0, lines.at(-1)?.growth ?? 0)
const text = [
  `${machineText(machine())}; ${threads} threads, medians of ${runs}, in ms.`,
  markdownTable([columns, ...lines.map(cellsOf)]),
  `While all frames were encoded in both forms, the process grew by ${Math.round(growth / 1e6)} MB.`,
].join('\n\n')
if (asked === usual) fillReadme('recordings', text)
else console.log(text)
