import { calibrateEncoder, needImageArchitecture, openImageEncoder, tilesOf } from '../../../src/encoders/index.ts'
import { type PromptPiece, startEngine } from '../../../src/engine/index.ts'
import { type PromptCells, PromptLayout } from '../../../src/engine/prompt-cells.ts'
import { createLogger } from '../../../src/log.ts'
import { finished } from '../../../src/slices.ts'
import { openSmall } from '../../support/decoder.ts'
import { pixels } from '../../support/pixels.ts'
import { answerOf, engineSettings, greedy, requestOf } from '../../support/pocket.ts'
import type { Family } from './families.ts'
import { type ModelFiles, openFiles } from './files.ts'
import { testImage } from './images.ts'
import { dot, farther, largestDifference, type Nearness, nearest } from './nearness.ts'
import { addOutliers } from './outliers.ts'
import { prompt, type Told, tokenStep, toldOf } from './told.ts'

/** A family's model, and the results of libmtmd. */
export interface Subject extends ModelFiles {
  readonly told: readonly Told[]
}

/** The places of text and embeddings in a prompt. */
interface Layout {
  /** Text as token ids, tiles as their number of embeddings. */
  chunks: (number | number[])[]
  /** For each tile, the positions of the rows in the fixture, and the position after it. */
  tiles: { positions: (readonly number[])[]; next: number }[]
}

export const openSubject = (family: Family): Subject => ({ ...openFiles(family), told: toldOf(family.name) })

/** The layouts of prompts with each image, in Oriel and in libmtmd. */
export async function compareLayouts(
  subject: Subject,
): Promise<{ size: Told['size']; ours: Layout; theirs: Layout }[]> {
  const architecture = await needImageArchitecture(subject.projector)
  const decoder = openSmall(subject.decoder, { batchRows: 64 })
  const prompts = new PromptLayout(decoder, { images: architecture, audio: null })
  const compared = subject.told.map((told) => {
    const laidOut = finished(prompts.layout(piecesOf(told.size)))
    const tiles = tilesTold(told)
    const spans = asTold(laidOut.spans, ({ start, end }) => end - start, tiles).map((of) => ({
      start: of[0]?.start ?? Number.NaN,
      end: of.at(-1)?.end ?? Number.NaN,
    }))
    return {
      size: told.size,
      ours: {
        chunks: chunksOf(laidOut.cells, spans),
        tiles: spans.map(({ start, end }, i) => ({
          positions: (tiles[i]?.rows ?? []).map((told) => {
            const { time, row, column } = laidOut.positions.place(start + told.row)
            return [time, row, column]
          }),
          next: laidOut.positions.time(end),
        })),
      },
      theirs: {
        chunks: told.layout.map((part) => ('text' in part ? part.text : part.tokens)),
        tiles: tiles.map(({ rows = [], next }) => ({ positions: rows.map(({ position }) => position), next })),
      },
    }
  })
  decoder.close()
  return compared
}

/** @throws Error if another runtime than the given one computes */
export async function compareEmbeddings(subject: Subject, runtime: 'onnx' | 'ggml'): Promise<Nearness> {
  const settings = { runtime, precision: 'fp32', threads: 1 } as const
  const { architecture, encode, ...encoder } = await openImageEncoder(subject.projector, settings)
  if (encoder.runtime !== runtime) throw new Error(`${encoder.runtime} computes instead of ${runtime}`)
  let nearness = nearest
  for (const told of subject.told) {
    const [width, height] = told.size
    const plan = architecture.plan({ width, height }, 'high')
    const scaled = architecture.scale({ width, height, rgb: testImage(width, height) }, plan)
    const tiles = asTold(tilesOf(plan), ({ tokens }) => tokens, tilesTold(told))
    for (const [i, expected] of tilesTold(told).entries()) {
      if (expected.rows === undefined) continue
      const found: Float32Array[] = []
      for (const tile of tiles[i] ?? []) found.push(await encode(scaled, tile, 1))
      const all = Float32Array.from(found.flatMap((embeddings) => [...embeddings]))
      nearness = farther(nearness, all, architecture.width, expected)
    }
  }
  return nearness
}

/** How far embeddings are from those in 32-bit floats: the length of the difference as a share of their length. */
export interface Rounding {
  /** With the forms that a calibration chooses. */
  chosen: number
  /** With all matrices of the layers in 8-bit integers. */
  int8: number
  /** What the calibration says of its choice, and what it aims at. */
  calibrated: { error: number; aim: number }
}

/** @param outliers whether some channels of every norm are twenty times as large: the vision file is changed for it */
export async function compareForms({ projector, told }: Subject, outliers = false): Promise<Rounding> {
  if (outliers) await addOutliers(projector)
  const settings = { runtime: 'onnx', threads: 1 } as const
  const choice = await calibrateEncoder(projector, settings, async () => {})
  const exact = await openImageEncoder(projector, { ...settings, precision: 'fp32' })
  const chosen = await openImageEncoder(projector, { ...settings, precision: 'auto', choice })
  const int8 = await openImageEncoder(projector, { ...settings, precision: 'int8' })
  const sums = { exact: 0, chosen: 0, int8: 0 }
  for (const [width, height] of told.map(({ size }) => size)) {
    const plan = exact.architecture.plan({ width, height }, 'low')
    const scaled = exact.architecture.scale({ width, height, rgb: testImage(width, height) }, plan)
    for (const tile of tilesOf(plan)) {
      const embeddings = await exact.encode(scaled, tile, 1)
      const squared = (found: Float32Array) =>
        found.reduce((sum, value, at) => sum + (value - (embeddings[at] ?? 0)) ** 2, 0)
      sums.exact += dot(embeddings, embeddings)
      sums.chosen += squared(await chosen.encode(scaled, tile, 1))
      sums.int8 += squared(await int8.encode(scaled, tile, 1))
    }
  }
  for (const encoder of [exact, chosen, int8]) await encoder.close()
  return { chosen: Math.sqrt(sums.chosen / sums.exact), int8: Math.sqrt(sums.int8 / sums.exact), calibrated: choice }
}

/**
 * The longest prompt to compare. In steps of fewer than 64 rows ggml's flash attention sums in 16 bits, which makes a
 * difference over thousands of cells of random numbers.
 */
const mostCells = 1500

/** @returns the largest difference of the log probabilities of the next token, computed by the whole engine */
export async function compareNextToken({ name, decoder, projector, told }: Subject): Promise<number> {
  const settings = { ...engineSettings, contextCells: 8192 }
  const engine = await startEngine({ decoder, projector, name, settings, log: createLogger('silent') })
  try {
    let worst = 0
    for (const { size, layout, logprobs } of told) {
      const cells = layout.reduce((sum, part) => sum + ('text' in part ? part.text.length : part.tokens), 0)
      if (cells > mostCells) continue
      // Control tokens are not reported, so a bias makes a letter of the prompt the next token.
      const [first] = layout
      const letter = first !== undefined && 'text' in first ? (first.text[0] ?? 0) : 0
      const sampling = { ...greedy, logitBias: [{ token: letter, bias: 1000 }] }
      const request = requestOf(piecesOf(size), { maxTokens: 1, sampling, topLogprobs: 1 << 16 })
      const found = new Map<number, number>()
      for (const event of (await answerOf(engine, request)).events)
        if (event.type === 'text') for (const { id, logprob } of event.tokens[0]?.top ?? []) found.set(id, logprob)
      const ours = logprobs.map((_, i) => found.get(i * tokenStep) ?? Number.NaN)
      worst = Math.max(worst, largestDifference(logprobs, ours))
    }
    return worst
  } finally {
    await engine.close()
  }
}

/** The prompt that libmtmd was given. */
function piecesOf([width, height]: Told['size']): PromptPiece[] {
  const rgb = testImage(width, height)
  const [before, after] = prompt
  return [
    { kind: 'text', text: before, special: true },
    {
      kind: 'image',
      width,
      height,
      pixels: pixels(rgb),
      hash: `${width}x${height}`,
      detail: 'high',
    },
    { kind: 'text', text: after, special: true },
  ]
}

const tilesTold = ({ layout }: Told) => layout.flatMap((part) => ('text' in part ? [] : [part]))

/** Neighbours that libmtmd takes for one tile, together. @param tokensIn one of `parts` */
function asTold<T>(parts: readonly T[], tokensIn: (part: T) => number, tiles: readonly { tokens: number }[]): T[][] {
  const rest = [...parts]
  const joined = tiles.map(({ tokens }) => {
    const group = rest.splice(0, 1)
    while (rest[0] !== undefined && group.reduce((sum, part) => sum + tokensIn(part), 0) < tokens)
      group.push(...rest.splice(0, 1))
    return group
  })
  return [...joined.filter((group) => group.length > 0), ...rest.map((part) => [part])]
}

function chunksOf(cells: PromptCells['cells'], spans: readonly { start: number; end: number }[]): Layout['chunks'] {
  const chunks: Layout['chunks'] = []
  const text = (from: number, to: number | undefined) => {
    if (from < (to ?? cells.length)) chunks.push([...cells.slice(from, to)])
  }
  let at = 0
  for (const { start, end } of spans) {
    text(at, start)
    chunks.push(end - start)
    at = end
  }
  text(at, undefined)
  return chunks
}
