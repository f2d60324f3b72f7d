import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Sequence } from '../src/tuning/sequence.ts'
import { joinedRun } from '../src/tuning/trainer/runs.ts'
import { Session } from '../src/tuning/trainer/session.ts'
import { modelFiles } from './model-files.ts'

/**
 * Tokens that the built-in trainer trains each second on the shape of SmolVLM-256M, beside PyTorch: `npx tsx bench/lora.ts`.
 * A run takes a minute. PyTorch computes in 32-bit floats; `--only` measures one of both.
 */
const { values } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    steps: { type: 'string', default: '4' },
    only: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    gigabytes: { type: 'string', default: '8' },
  },
})
const [threads, steps] = [Number(values.threads), Number(values.steps)]
const shape = { layers: 30, width: 576, heads: 9, keyHeads: 3, feedForward: 1536, vocabulary: 49_280, rank: 16 }
/** Examples of a step, their cells, and how many of these are learned. */
const batches = [
  { sequences: 1, cells: 512, learned: 100 },
  { sequences: 4, cells: 128, learned: 25 },
]

interface Figures {
  /** Of a step, the median. */
  seconds: number
  /** That all cores computed in it: on a busy machine this is what can be compared. */
  cpuSeconds: number
  /** The most that the process had. */
  memoryBytes: number
}

const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0
const resident = (): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024

async function ours({ sequences, cells, learned }: (typeof batches)[number]): Promise<Figures & { reckoned: number }> {
  const session = await Session.open({
    ...{ decoder: modelFiles('smol').decoder, rank: shape.rank, alpha: 32, threads },
    ...{ memoryBytes: Number(values.gigabytes) * 1e9, cells: sequences * cells },
  })
  const { adapter, architecture, embeddings } = session
  adapter.begin(1)
  const examples = Array.from(
    { length: sequences },
    (_, index): Sequence => ({
      tokens: Int32Array.from({ length: cells }, (_, cell) => (cell * 7919 + index * 104_729) % shape.vocabulary),
      positions: Int32Array.from({ length: cells }, (_, cell) => cell),
      learned: Uint8Array.from({ length: cells }, (_, cell) => (cell >= cells - learned ? 1 : 0)),
      spans: [],
    }),
  )
  const times = Array.from({ length: steps }, (_, step) => {
    const [start, before] = [performance.now(), process.cpuUsage()]
    const run = joinedRun(examples, architecture, embeddings)
    session.learn(run)
    adapter.descend(step + 1, 1e-4, Math.min(1, 1 / adapter.gradientNorm()))
    const { user, system } = process.cpuUsage(before)
    return { seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6 }
  })
  session.close()
  const [seconds, cpuSeconds] = [times.map((time) => time.seconds), times.map((time) => time.cpuSeconds)]
  return {
    seconds: median(seconds),
    cpuSeconds: median(cpuSeconds),
    memoryBytes: resident(),
    reckoned: session.memoryBytes,
  }
}

function pytorch(batch: (typeof batches)[number]): Figures {
  const file = fileURLToPath(new URL('./lora.py', import.meta.url))
  const out = execFileSync(values.python, [file, JSON.stringify({ ...shape, ...batch, threads, steps })], {
    encoding: 'utf8',
  })
  return JSON.parse(out)
}

const shown = ({ seconds, cpuSeconds, memoryBytes }: Figures, tokens: number): string =>
  `${(tokens / seconds).toFixed(0)} tokens/s, ${(tokens / cpuSeconds).toFixed(0)} for each second of a core, ${(memoryBytes / 1e6).toFixed(0)} MB`

for (const batch of batches) {
  const tokens = batch.sequences * batch.cells
  console.log(`${batch.sequences} x ${batch.cells} tokens, ${batch.learned} learned in each`)
  if (values.only !== 'pytorch') {
    const figures = await ours(batch)
    console.log(`  Oriel:   ${shown(figures, tokens)} (reckoned: ${(figures.reckoned / 1e6).toFixed(0)} MB)`)
  }
  if (values.only !== 'oriel') console.log(`  PyTorch: ${shown(pytorch(batch), tokens)}`)
}
