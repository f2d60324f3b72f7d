import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import type { PromptPiece } from '../../src/engine/generation.ts'
import { startEngine } from '../../src/engine/host.ts'
import { type PromptCells, PromptLayout } from '../../src/engine/prompt-cells.ts'
import { openDecoder } from '../../src/language/index.ts'
import { createLogger } from '../../src/log.ts'
import { openArchitecture, openEncoder } from '../../src/vision/index.ts'
import { answerOf, greedy, requestOf } from '../support/pocket.ts'
import { families } from './oracle/families.ts'
import { picture } from './oracle/pictures.ts'
import { prompt, type Told, tokenStep, toldOf } from './oracle/told.ts'

/** The prompt that libmtmd was given. */
function piecesOf([width, height]: Told['size']): PromptPiece[] {
  const rgb = picture(width, height)
  const [before, after] = prompt
  return [
    { kind: 'text', text: before, special: true },
    { kind: 'picture', picture: { width, height, rgb, hash: `${width}x${height}`, detail: 'high' } },
    { kind: 'text', text: after, special: true },
  ]
}

const tilesTold = ({ layout }: Told) => layout.flatMap((part) => ('text' in part ? [] : [part]))

const cosine = (a: readonly number[], b: readonly number[]): number => {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

const largestDifference = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0)

describe.each(families)('$name, beside libmtmd', ({ name, write }) => {
  const folder = mkdtempSync(path.join(tmpdir(), `oriel-${name}-`))
  const [decoderFile, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  write(decoderFile, projector)
  afterAll(() => rmSync(folder, { recursive: true }))
  const told = toldOf(name)

  it('lays prompts out alike: text, embeddings, and their positions', () => {
    const architecture = openArchitecture(projector)
    const decoder = openDecoder(decoderFile, { cells: 256, sequences: 1, batchRows: 64, threads: 1, kvType: 'f16' })
    const prompts = new PromptLayout(decoder, architecture)
    for (const { size, layout } of told) {
      const laidOut = prompts.layout(piecesOf(size))
      expect(chunksOf(laidOut), `${size}`).toEqual(layout.map((part) => ('text' in part ? part.text : part.tokens)))
      laidOut.spans.forEach((span, i) => {
        const { rows = [], next } = tilesTold({ size, layout, logprobs: [] })[i] ?? { next: Number.NaN }
        for (const { row: at, position } of rows) {
          const { time, row, column } = laidOut.positions.place(span.start + at)
          expect([time, row, column], `${size}`).toEqual(position)
        }
        expect(laidOut.positions.time(span.end)).toBe(next)
      })
    }
    decoder.close()
  })

  it.each(['onnx', 'ggml'] as const)('computes the same embeddings in %s', async (runtime) => {
    const encoder = await openEncoder(projector, { runtime, precision: 'fp32', threads: 1 })
    expect(encoder.runtime).toBe(runtime)
    const { width } = encoder.architecture
    let [worst, alike] = [0, 1]
    for (const one of told) {
      const [columns, lines] = one.size
      const original = { width: columns, height: lines }
      const plan = encoder.architecture.plan(original, 'high')
      const scaled = encoder.architecture.scale({ ...original, rgb: picture(columns, lines) }, plan)
      const tiles = plan.layout.filter((part) => typeof part !== 'string')
      for (const [i, { rows = [], sum = [] }] of tilesTold(one).entries()) {
        const tile = tiles[i]
        if (tile === undefined || rows.length === 0) continue
        const found = await encoder.encode(scaled, tile, 1)
        const row = (at: number) => [...found.subarray(at * width, (at + 1) * width)]
        const total = Array.from({ length: tile.tokens }, (_, at) => row(at)).reduce((a, b) =>
          a.map((value, at) => value + (b[at] ?? 0)),
        )
        for (const { row: at, values } of rows) {
          worst = Math.max(worst, largestDifference(values, row(at)))
          alike = Math.min(alike, cosine(values, row(at)))
        }
        alike = Math.min(alike, cosine(sum, total))
      }
    }
    process.stdout.write(`${name}, ${runtime}: cosine ${alike.toFixed(7)}, difference ${worst.toExponential(1)}\n`)
    // libmtmd convolves in 16-bit floats, 11 bits of which are significant; embeddings are 1 to 3 large.
    expect(worst).toBeLessThan(0.02)
    expect(alike).toBeGreaterThan(0.9999)
  })

  it('foretells the same next token', async () => {
    const config = { ...loadConfig({}, {}).engine, contextTokens: 8192 }
    const engine = await startEngine({ decoder: decoderFile, projector, name, config, log: createLogger('silent') })
    let worst = 0
    for (const { size, layout, logprobs } of told) {
      // Control tokens would not be told, so a letter of the prompt shall come next.
      const [first] = layout
      const letter = first !== undefined && 'text' in first ? (first.text[0] ?? 0) : 0
      const sampling = { ...greedy, logitBias: [{ token: letter, bias: 1000 }] }
      const { events } = await answerOf(
        engine,
        requestOf(piecesOf(size), { maxTokens: 1, sampling, topLogprobs: 1 << 16 }),
      )
      const found = new Map<number, number>()
      for (const event of events)
        if (event.type === 'text') for (const { id, logprob } of event.tokens[0]?.top ?? []) found.set(id, logprob)
      const ours = logprobs.map((_, i) => found.get(i * tokenStep) ?? Number.NaN)
      worst = Math.max(worst, largestDifference(logprobs, ours))
    }
    await engine.close()
    process.stdout.write(`${name}: log probabilities differ by ${worst.toExponential(1)} at most\n`)
    expect(worst).toBeLessThan(0.02)
  })
})

/** Text between pictures as token ids, pictures as numbers of embeddings. */
function chunksOf({ cells, spans }: PromptCells): (number | number[])[] {
  const chunks: (number | number[])[] = []
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
