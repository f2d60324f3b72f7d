import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median, percentile } from './figures.ts'
import { type Counts, cachedIn, type Endpoint, firstToken, newQuestion, speedOf, stream } from './front-clients.ts'
import { newImage } from './images.ts'
import { machine } from './machine.ts'
import { fillReadme, machineText, markdownTable, round } from './report.ts'
import { type OrielServer, type Server, serveOriel } from './servers.ts'

/**
 * Measures Oriel in front of other servers: `npx tsx bench/front.ts [--rows ttft,speed,engine,streams,affinity]`. It keeps the
 * rows of the table in `bench/results/front.json`, and inserts the table into bench/README.md.
 *
 * What is straight and what is through the front is measured in pairs, in turns.
 */
const { values: flags } = parseArgs({
  options: { rows: { type: 'string', default: 'ttft,speed,engine,streams,affinity' } },
})

/** A line of the table. */
interface Line {
  readonly what: string
  readonly figure: string
  readonly bar: string
  readonly beside: string
}

const results = new URL('./results/front.json', import.meta.url)

async function main(): Promise<void> {
  const kept: Record<string, Line[]> = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {}
  for (const row of flags.rows.split(',')) {
    const measure = rows[row as keyof typeof rows]
    if (measure === undefined) throw new Error(`there is no row ${row}: ${Object.keys(rows).join(', ')}`)
    kept[row] = await measure()
    console.log(kept[row].map((line) => Object.values(line).join(' | ')).join('\n'))
  }
  writeFileSync(results, `${JSON.stringify(kept, null, 2)}\n`)
  const lines = Object.keys(rows).flatMap((row) =>
    (kept[row] ?? []).map(({ what, figure, bar, beside }) => [what, figure, bar, beside]),
  )
  fillReadme('front', `${machineText(machine())}\n\n${markdownTable([['what', 'figure', 'bar', ''], ...lines])}`)
}

const rows = {
  /** What the front adds to the time to the first token. */
  ttft: () =>
    withScripted(0, async (straight, through) => [
      await addedTime('a text', 5, straight, through, false),
      await addedTime('a new picture of 100 kB', 8, straight, through, true),
    ]),

  /** Tokens per second through it. */
  async speed() {
    const lines: Line[] = []
    for (const [streams, pace] of [
      [1, 10],
      [64, 20],
    ] as const)
      await withScripted(pace, async (straight, through) => {
        lines.push(await compareSpeed(`${streams} streams of ${1000 / pace} tokens/s`, streams, straight, through))
      })
    await withScripted(0, async (_, through) => {
      await speedOf(through, 1, 2000)
      const most = round(await speedOf(through, 1, 20_000))
      lines.push({ what: 'tokens/s of one stream whose upstream never waits', figure: most, bar: '', beside: '' })
    })
    return lines
  },

  /** The same for an engine that shares the cores with the front. */
  async engine() {
    const engine = await serveOriel('pocket', ['--model', 'pocket'], {}, 'front-engine')
    const front = await startFront('pocket', [{ name: 'engine', url: engine.url, api: 'oriel' }])
    try {
      const lines: Line[] = []
      for (const streams of [1, 8])
        lines.push(await compareSpeed(`${streams} streams of a Pocket engine`, streams, engine, front))
      return lines
    } finally {
      await front.stop()
      await engine.stop()
    }
  },

  /** Many streams at once. The upstream and the clients share the cores with the front. */
  async streams() {
    const [streams, pace, seconds] = [1000, 200, 20]
    return await withScripted(pace, async (_, through) => {
      await speedOf(through, 50, 5)
      const stopping = new AbortController()
      const counts: Counts = { tokens: 0, open: 0 }
      const running: Promise<void>[] = []
      for (let number = 0; number < streams; number++) {
        const one = stream(through, 100_000, counts, stopping.signal).catch((error) => {
          if (!stopping.signal.aborted) console.error(`A stream failed: ${error}`)
        })
        running.push(one)
        await sleep(5)
      }
      for (let waited = 0; counts.open < streams && waited < 30; waited++) await sleep(1000)
      const [begun, before, cpu] = [performance.now(), counts.tokens, cpuSeconds(through.pid)]
      through.watchLoop()
      await sleep(seconds * 1000)
      const { p99 } = await through.loopDelay()
      const elapsed = (performance.now() - begun) / 1000
      const rate = (counts.tokens - before) / elapsed
      const cores = (cpuSeconds(through.pid) - cpu) / elapsed
      const { open } = counts
      stopping.abort()
      await Promise.all(running)
      const what = `event loop p99 with ${open} streams at once of ${1000 / pace} tokens/s, ms`
      const beside = `${round(rate)} tokens/s together; the front takes ${round(cores)} cores`
      return [{ what, figure: round(p99), bar: '≤ 20', beside }]
    })
  },

  /** Prefix hits of chats about pictures with several engines. */
  async affinity() {
    const [engines, chats, turns] = [3, 30, 5]
    const pictures = await Promise.all(Array.from({ length: chats }, () => newImage(448, 448)))
    const unlimited = await startEngine(65_536)
    const most = await cachedIn(() => unlimited, pictures, turns, 0)
    await unlimited.stop()
    const compare = async (what: string, bar: string, pauseMs: number, front: boolean): Promise<Line> => {
      const all: OrielServer[] = []
      for (let engine = 0; engine < engines; engine++) all.push(await startEngine(room))
      const upstreams = all.map(({ url }, at) => ({ name: `engine-${at}`, url, api: 'oriel' }))
      const through = front ? await startFront('pocket', upstreams) : undefined
      const inTurn = (function* (): Generator<Server, never> {
        for (;;) yield* all
      })()
      const cached = await cachedIn(() => through ?? inTurn.next().value, pictures, turns, pauseMs)
      for (const server of [through, ...all]) await server?.stop()
      const figure = `${round((100 * cached) / most)} %`
      return { what: `prefix hits, ${what}`, figure, bar, beside: `${cached} tokens of ${most}` }
    }
    return [
      await compare(`${chats} chats at once`, '≥ 90 %', 0, true),
      await compare(`${chats} chats with pauses of 2 s`, '≥ 90 %', 2000, true),
      await compare(`${chats} chats at once, round robin`, '', 0, false),
    ]
  },
} satisfies Record<string, () => Promise<Line[]>>

async function addedTime(
  what: string,
  bar: number,
  straight: Endpoint,
  through: Endpoint,
  hasPicture: boolean,
): Promise<Line> {
  const [pairs, warm] = [150, 20]
  const questions: object[][] = []
  for (let pair = 0; pair < pairs + warm; pair++) questions.push(await newQuestion(pair, hasPicture))
  const [added, alone]: [number[], number[]] = [[], []]
  for (const [pair, question] of questions.entries()) {
    const [one, other] = await inTurns(pair, straight, through, (endpoint) => firstToken(endpoint, question))
    await sleep(5)
    if (pair < warm) continue
    alone.push(one)
    added.push(other - one)
  }
  const [p50, p95] = [0.5, 0.95].map((share) => round(percentile(added, share)))
  const beside = `p95 ${p95}; the upstream alone ${round(median(alone))} ms`
  return { what: `TTFT added to ${what}, p50, ms`, figure: p50 ?? '', bar: `≤ ${bar}`, beside }
}

async function compareSpeed(what: string, streams: number, straight: Endpoint, through: Endpoint): Promise<Line> {
  const tokens = 200
  const [ratios, alone]: [number[], number[]] = [[], []]
  for (let pair = -1; pair < 6; pair++) {
    const [one, other] = await inTurns(pair, straight, through, (endpoint) => speedOf(endpoint, streams, tokens))
    if (pair < 0) continue
    alone.push(one)
    ratios.push(other / one)
  }
  const range = `${round(Math.min(...ratios))} to ${round(Math.max(...ratios))}`
  const beside = `${range}; the upstream alone ${round(median(alone))} tokens/s`
  return { what: `tokens/s of ${what}, through : alone`, figure: round(median(ratios)), bar: '≥ 0.97', beside }
}

/** Each is first in half of the pairs. @returns the figure of the first endpoint and that of the second */
async function inTurns(
  pair: number,
  straight: Endpoint,
  through: Endpoint,
  measure: (endpoint: Endpoint) => Promise<number>,
): Promise<[number, number]> {
  if (pair % 2 === 0) return [await measure(straight), await measure(through)]
  const second = await measure(through)
  return [await measure(straight), second]
}

/** Runs with a scripted upstream, and a front before it. */
async function withScripted<T>(
  pace: number,
  run: (straight: Endpoint, through: OrielServer) => Promise<T>,
): Promise<T> {
  const child = fork(fileURLToPath(new URL('./scripted-upstream.ts', import.meta.url)), [String(pace)], {
    execArgv: ['--import', 'tsx'],
  })
  const [port] = await once(child, 'message')
  const straight = { url: `http://127.0.0.1:${port}`, model: 'scripted' }
  const front = await startFront('scripted', [{ name: 'scripted', url: straight.url, api: 'vllm' }])
  try {
    return await run(straight, front)
  } finally {
    await front.stop()
    child.kill()
  }
}

async function startFront(model: string, upstreams: readonly object[]): Promise<OrielServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-bench-'))
  const file = path.join(folder, 'oriel.json')
  const all = upstreams.map((upstream) => ({ models: [model], ...upstream }))
  writeFileSync(file, JSON.stringify({ model: [], upstreams: all, accounts: { dataDir: folder } }))
  const server = await serveOriel(model, ['--config', file], {}, 'front')
  return {
    ...server,
    async stop() {
      await server.stop()
      rmSync(folder, { recursive: true })
    },
  }
}

/** Room in the KV cache of each of several engines, in tokens, and none beside it: for its third of the chats, but not for all. */
const room = 2048

const startEngine = (contextTokens: number): Promise<OrielServer> =>
  serveOriel(
    'pocket',
    ['--model', 'pocket'],
    { ORIEL_CONTEXT: String(contextTokens), ORIEL_PREFIX_CACHE: '1', ORIEL_THREADS: '1' },
    'front-engine',
  )

/** User and system time of a process since its start. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

await main()
