import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Agent, request } from 'undici'
import { chat, type Turn } from './clients.ts'
import { median, percentile } from './figures.ts'
import { type Image, newImage } from './images.ts'
import { machine } from './machine.ts'
import { type OrielServer, type Server, serveOriel } from './servers.ts'

/**
 * Measures Oriel in front of other servers: `npx tsx bench/front.ts [--rows ttft,speed,engine,streams,affinity]`.
 *
 * - `ttft`: what the front adds to the time to the first token, in pairs of requests, straight and through it.
 * - `speed`: tokens per second through it, in pairs with the upstream alone.
 * - `engine`: the same for a Pocket engine, which shares the cores with the front.
 * - `streams`: a thousand streams at once. The upstream and the client share the two cores with the front.
 * - `affinity`: prefix hits of 30 chats with three engines.
 */
const { values: flags } = parseArgs({
  options: { rows: { type: 'string', default: 'ttft,speed,engine,streams,affinity' } },
})

type Endpoint = Pick<Server, 'url' | 'model'>

async function main(): Promise<void> {
  const { cpu, cores, memoryGb } = machine()
  console.log(`${cpu}, ${cores} cores, ${memoryGb} GB, Node ${process.version}`)
  for (const row of flags.rows.split(',')) {
    const measure = rows[row as keyof typeof rows]
    if (measure === undefined) throw new Error(`there is no row ${row}: ${Object.keys(rows).join(', ')}`)
    await measure()
  }
}

const rows = {
  async ttft() {
    await between(0, async (straight, through) => {
      for (const [what, kilobytes, bar] of [
        ['text', 0, 5],
        ['a picture of 100 kB', 100, 8],
      ] as const) {
        const [pairs, warm] = [150, 20]
        const contents: object[][] = []
        for (let pair = 0; pair < pairs + warm; pair++) contents.push(await contentOf(pair, kilobytes))
        const added: number[] = []
        const alone: number[] = []
        for (const [pair, content] of contents.entries()) {
          const [one, other] = pair % 2 === 0 ? [straight, through] : [through, straight]
          const times = new Map<Endpoint, number>()
          for (const endpoint of [one, other]) times.set(endpoint, await firstToken(endpoint, content))
          if (pair < warm) continue
          alone.push(times.get(straight) ?? Number.NaN)
          added.push((times.get(through) ?? Number.NaN) - (times.get(straight) ?? Number.NaN))
          await sleep(5)
        }
        const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => percentile(added, share).toFixed(2))
        console.log(
          `TTFT added, ${what}: p50 ${p50} ms (bar ${bar}), p95 ${p95}, p99 ${p99}; the upstream alone ${median(alone).toFixed(2)} ms; ${added.length} pairs`,
        )
      }
    })
  },

  async speed() {
    for (const [streams, pace] of [
      [1, 10],
      [64, 20],
    ] as const) {
      await between(pace, (straight, through) =>
        compareSpeed(`${streams} streams, one token in ${pace} ms`, streams, straight, through),
      )
    }
    await between(0, async (_, through) => {
      await speedOf(through, 1, 2000)
      console.log(
        `The most that the front passes on in one stream: ${(await speedOf(through, 1, 20_000)).toFixed(0)} tokens/s`,
      )
    })
  },

  async engine() {
    const engine = await serveOriel('pocket', ['--model', 'pocket'], {}, 'front-engine')
    const front = await startFront('pocket', [{ name: 'engine', url: engine.url, api: 'oriel' }])
    try {
      for (const streams of [1, 8])
        await compareSpeed(`a Pocket engine, ${streams} streams`, streams, engine, front.server)
    } finally {
      await front.stop()
      await engine.stop()
    }
  },

  async streams() {
    const [streams, pace, seconds] = [1000, 200, 25]
    await between(pace, async (_, through, front) => {
      await speedOf(through, 50, 5)
      const stopping = new AbortController()
      const counts = { tokens: 0, open: 0, failed: 0 }
      const running: Promise<void>[] = []
      for (let stream = 0; stream < streams; stream++) {
        running.push(
          countTokens(through, 100_000, counts, stopping.signal).catch(() => {
            if (!stopping.signal.aborted) counts.failed++
          }),
        )
        // Arrivals, and so tokens, are spread over the pace.
        await sleep(4)
      }
      await sleep(2000)
      const [begun, before, cpu] = [performance.now(), counts.tokens, cpuSeconds(front.pid)]
      front.watchLoop()
      await sleep(seconds * 1000)
      const { p99 } = await front.loopDelay()
      const elapsed = (performance.now() - begun) / 1000
      const rate = (counts.tokens - before) / elapsed
      const used = (cpuSeconds(front.pid) - cpu) / elapsed
      console.log(
        `${counts.open} streams at once (${counts.failed} failed), one token in ${pace} ms each: event loop of the front p99 ${p99.toFixed(1)} ms (bar 20), ` +
          `${rate.toFixed(0)} tokens/s of ${(streams * 1000) / pace}, ${used.toFixed(2)} cores for the front`,
      )
      stopping.abort()
      await Promise.all(running)
    })
  },

  async affinity() {
    const [engines, chats, turns] = [3, 30, 5]
    const pictures = await Promise.all(Array.from({ length: chats }, () => newImage(448, 448)))
    const unlimited = await startEngine(65_536)
    const most = await cachedIn(() => unlimited, pictures, turns)
    await unlimited.stop()
    console.log(`One engine with unlimited room: ${most} prompt tokens of ${chats} chats of ${turns} turns were cached`)
    const tell = (way: string, cached: number): void =>
      console.log(`${engines} engines, ${way}: ${cached}, ${((100 * cached) / most).toFixed(1)} % of those (bar 90 %)`)

    const all = await startEngines(engines)
    const front = await startFront(
      'pocket',
      all.map(({ url }, at) => ({ name: `engine-${at}`, url, api: 'oriel' })),
    )
    tell('through the front', await cachedIn(() => front.server, pictures, turns))
    await Promise.all([front, ...all].map((server) => server.stop()))

    const others = await startEngines(engines)
    const inTurn = function* () {
      for (;;) yield* others
    }
    const turn = inTurn()
    tell('round robin', await cachedIn(() => turn.next().value, pictures, turns))
    await Promise.all(others.map((server) => server.stop()))
  },
}

/** Room in the KV cache of each of several engines, in tokens: for about half of its chats at their end. */
const room = 2048

async function startEngines(count: number): Promise<OrielServer[]> {
  const engines: OrielServer[] = []
  for (let engine = 0; engine < count; engine++) engines.push(await startEngine(room))
  return engines
}

const startEngine = (contextTokens: number): Promise<OrielServer> =>
  serveOriel(
    'pocket',
    ['--model', 'pocket'],
    { ORIEL_CONTEXT: String(contextTokens), ORIEL_THREADS: '1' },
    'front-engine',
  )

interface Front {
  readonly server: OrielServer
  stop(): Promise<void>
}

async function startFront(model: string, upstreams: readonly object[]): Promise<Front> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-bench-'))
  const file = path.join(folder, 'oriel.json')
  const all = upstreams.map((upstream) => ({ models: [model], ...upstream }))
  writeFileSync(file, JSON.stringify({ model: [], upstreams: all, accounts: { dataDir: folder } }))
  const server = await serveOriel(model, ['--config', file], {}, 'front')
  return {
    server,
    async stop() {
      await server.stop()
      rmSync(folder, { recursive: true })
    },
  }
}

/** Runs with a scripted upstream, and a front before it. */
async function between(
  pace: number,
  run: (straight: Endpoint, through: Endpoint, front: OrielServer) => Promise<void>,
): Promise<void> {
  const child = fork(fileURLToPath(new URL('./scripted-upstream.ts', import.meta.url)), [String(pace)], {
    execArgv: ['--import', 'tsx'],
  })
  const [port] = await once(child, 'message')
  const straight = { url: `http://127.0.0.1:${port}`, model: 'scripted' }
  const front = await startFront('scripted', [{ name: 'scripted', url: straight.url, api: 'vllm' }])
  try {
    await run(straight, front.server, front.server)
  } finally {
    await front.stop()
    child.kill()
  }
}

const agent = new Agent({ bodyTimeout: 0, headersTimeout: 0 })

/** @returns the body of the answer, as it arrives */
async function ask({ url, model }: Endpoint, content: unknown, tokens: number, signal?: AbortSignal) {
  const { statusCode, body } = await request(`${url}/v1/chat/completions`, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content }], max_tokens: tokens, stream: true }),
    ...(signal && { signal }),
  })
  if (statusCode !== 200) throw new Error(`status ${statusCode}: ${await body.text()}`)
  return body
}

/** A question, or one about a picture that was never sent before. */
async function contentOf(number: number, kilobytes: number): Promise<object[]> {
  const text = { type: 'text', text: `Question ${number}: what is it?` }
  if (kilobytes === 0) return [text]
  // So much grain makes about 100 kB of 640 x 480 pixels.
  return [{ type: 'image_url', image_url: { url: await newImage(640, 480, 32) } }, text]
}

/** @returns the time to the first text, in ms */
async function firstToken(endpoint: Endpoint, content: unknown): Promise<number> {
  const begun = performance.now()
  let time = Number.NaN
  let text = ''
  for await (const chunk of await ask(endpoint, content, 4)) {
    text += chunk
    if (Number.isNaN(time) && tokensIn(text) > 0) time = performance.now() - begun
  }
  return time
}

const tokensIn = (text: string): number => text.split('" word"').length - 1

/** @returns tokens per second of all streams together */
async function speedOf(endpoint: Endpoint, streams: number, tokens: number): Promise<number> {
  const begun = performance.now()
  const counts = { tokens: 0, open: 0 }
  await Promise.all(Array.from({ length: streams }, () => countTokens(endpoint, tokens, counts)))
  return (1000 * counts.tokens) / (performance.now() - begun)
}

async function countTokens(
  endpoint: Endpoint,
  tokens: number,
  counts: { tokens: number; open: number },
  signal?: AbortSignal,
): Promise<void> {
  const body = await ask(endpoint, 'Say some words.', tokens, signal)
  counts.open++
  try {
    let last = ''
    for await (const chunk of body) {
      const lines = (last + chunk).split('\n')
      last = lines.pop() ?? ''
      for (const line of lines) if (line.includes('"content":') && !line.includes('"content":""')) counts.tokens++
    }
  } finally {
    counts.open--
  }
}

async function compareSpeed(what: string, streams: number, straight: Endpoint, through: Endpoint): Promise<void> {
  const tokens = 200
  const ratios: number[] = []
  const alone: number[] = []
  for (let pair = -1; pair < 6; pair++) {
    const speeds = new Map<Endpoint, number>()
    for (const endpoint of pair % 2 === 0 ? [straight, through] : [through, straight])
      speeds.set(endpoint, await speedOf(endpoint, streams, tokens))
    if (pair < 0) continue
    alone.push(speeds.get(straight) ?? Number.NaN)
    ratios.push((speeds.get(through) ?? Number.NaN) / (speeds.get(straight) ?? Number.NaN))
  }
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)]
  console.log(
    `Tokens/s, ${what}: ${median(ratios).toFixed(3)} of the upstream alone (bar 0.97), ${least.toFixed(3)} to ${most.toFixed(3)}; the upstream alone ${median(alone).toFixed(0)} tokens/s`,
  )
}

/** User and system time of a process since its start. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** All chats at once, each about its own picture. @returns the tokens of their prompts that were in a KV cache */
async function cachedIn(next: () => Server, pictures: readonly Image[], turns: number): Promise<number> {
  const chats = pictures.map(async (image, number) => {
    const said: Turn[] = [{ role: 'user', parts: [{ image }, { text: `What is picture ${number}?` }] }]
    let cached = 0
    for (let turn = 0; turn < turns; turn++) {
      const { text, cachedTokens } = await chat(next(), said, 12)
      cached += cachedTokens
      said.push(
        { role: 'assistant', parts: [{ text }] },
        { role: 'user', parts: [{ text: `And what else, ${turn}?` }] },
      )
    }
    return cached
  })
  return (await Promise.all(chats)).reduce((sum, one) => sum + one, 0)
}


await main()
