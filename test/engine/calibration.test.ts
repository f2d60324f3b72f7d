import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chosenFor } from '../../src/encoders/index.ts'
import { type Engine, startEngine } from '../../src/engine/index.ts'
import { writeDecoder } from '../encoders/oracle/decoder.ts'
import { towerWidth } from '../encoders/oracle/tower.ts'
import { learnedPositions, writeVision } from '../encoders/oracle/vision-file.ts'
import { matrix, norm } from '../encoders/oracle/weights.ts'
import { shortRun } from '../support/long.ts'
import { answerOf, ask, engineSettings, requestOf, square } from '../support/pocket.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-calibration-'))
const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
const settings = { ...engineSettings, visionPrecision: 'auto', weightCacheBytes: 1e9 } as const
const engines: Engine[] = []

/** Starts an engine as it is installed. @returns it, and when it has changed to forms that were chosen */
async function start(): Promise<{ engine: Engine; changed: Promise<void>; lines: string[] }> {
  const lines: string[] = []
  let change = () => {}
  const changed = new Promise<void>((resolve) => {
    change = resolve
  })
  const write = (line: string) => {
    lines.push(line)
    if (line.includes('the forms of the image encoder were chosen')) change()
  }
  const engine = await startEngine({
    decoder,
    projector,
    name: 'wide',
    settings,
    log: pino({ level: 'info' }, { write }),
  })
  engines.push(engine)
  return { engine, changed, lines }
}

/** Answers with log probabilities, which show any difference of the embeddings. */
async function answer(engine: Engine) {
  const { events, prompt } = await answerOf(
    engine,
    requestOf(ask('What is it?', square([200, 30, 30])), { maxTokens: 4, ignoreEos: true, topLogprobs: 0 }),
  )
  const done = events.at(-1)
  const logprobs = events.flatMap((event) => (event.type === 'text' ? event.tokens.map(({ logprob }) => logprob) : []))
  return { logprobs, encode: done?.type === 'done' ? done.timings.encode : Number.NaN, cached: prompt.cachedTokens }
}

function expectNear(found: readonly number[], wanted: readonly number[], digits: number): void {
  expect(found.length).toBe(wanted.length)
  for (const [at, value] of wanted.entries()) expect(found[at]).toBeCloseTo(value, digits)
}

beforeAll(() => {
  process.env.XDG_CACHE_HOME = folder
  writeDecoder(decoder, { specials: ['<fake_token_around_image>', '<global-img>'] })
  // Few layers, but with as many weights as make it worth to choose.
  writeVision(projector, {
    ...{ type: 'idefics3', edge: 64, patch: 16, feedForward: 1 << 16 },
    metadata: { 'clip.vision.projector.scale_factor': { u32: 2 } },
    tensors: [
      ...norm('v.post_ln', towerWidth),
      ...learnedPositions(16),
      matrix('mm.model.fc.weight', towerWidth * 4, 32),
    ],
  })
})
afterAll(async () => {
  for (const engine of engines) await engine.close()
  rmSync(folder, { recursive: true })
})

describe('an encoder whose forms are not chosen yet', () => {
  it.skipIf(shortRun)(
    'answers at once, changes to the chosen forms when nobody asks, and mixes nothing of before into answers',
    async () => {
      const { engine, changed } = await start()
      const first = await answer(engine)
      const again = await answer(engine)
      await changed
      const after = await answer(engine)
      // The picture is encoded anew, and neither its embeddings nor what was computed with them is used.
      expect(after.encode).toBeGreaterThan(0)
      expect(after.cached).toBeLessThan(again.cached)
      const then = await answer(engine)
      expect(then).toMatchObject({ encode: 0, cached: again.cached })
      expectNear(then.logprobs, after.logprobs, 4)
      expectNear(after.logprobs, first.logprobs, 0)

      const threads = engineSettings.threads
      const choice = chosenFor(projector, threads, { folder: path.join(folder, 'oriel', 'weights'), mostBytes: 1e9 })
      expect(choice?.error).toBeLessThan(choice?.aim ?? 0)

      // The next load has the same forms from the beginning.
      await engine.close()
      const { engine: next, lines } = await start()
      expectNear((await answer(next)).logprobs, after.logprobs, 4)
      expect(lines.join()).not.toContain('chosen')
      // A calibration has the lowest priority: on a busy machine it waits.
    },
    600_000,
  )
})
