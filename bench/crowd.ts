import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once, setMaxListeners } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { Agent, fetch } from 'undici'
import { qwen25oHearing } from '../test/encoders/oracle/families/whisper.ts'
import type { LoopDelay, LoopQuestion } from './event-loop.js'
import { median, percentile } from './figures.ts'

/**
 * Measures what one client can do to another: `npx tsx bench/crowd.ts [--attacks pdfs,unread+bodies] [--seconds 20]`. For
 * each attack, or several at once (`+`), one after the other, it starts a server with the built-in model, an attacker and an
 * innocent client. The innocent chats with text and with pictures that nobody has seen. The attacker is 127.0.0.2, the innocent
 * 127.0.0.1, and neither reaches anything but that server; on macOS the second address must be added first
 * (`ifconfig lo0 alias 127.0.0.2`).
 *
 * The table has for each attack the innocent's times and errors, the memory of the API process, and what the attacker got.
 * `--of` names another checkout whose server is measured (after `npm run build` there).
 *
 * With `--stream`, the innocent reads one stream after the other of a small model that watches videos, and nothing else. The table
 * has how long its pieces took, and how late the event loop of the API process was. `pictures`, `videos` and `damaged`
 * ask the same model. They need ffmpeg to make a video.
 */
const { values: flags } = parseArgs({
  options: {
    attacks: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    stream: { type: 'boolean', default: false },
    of: { type: 'string', default: fileURLToPath(new URL('../', import.meta.url)) },
  },
})

/** Attacks by name. Each lasts until the signal aborts. Further ones are further entries. */
const attacks: Record<string, (attacker: Attacker) => Promise<unknown>> = {
  nothing: async () => {},
  /** Twelve requests at a time with one page of 20,000 blended paths. */
  pdfs: (attacker) =>
    crowd(attacker, 12, () => attacker.ask({ content: [image(`data:application/pdf;base64,${slowPdf}`)] })),
  /** Streams of long answers that are never read. */
  unread: async (attacker) => {
    for (let i = 0; i < 300; i++) attacker.neverRead({ stream: true, max_tokens: 3500, ignore_eos: true })
  },
  /** Three requests at a time for 32 answers each. */
  answers: (attacker) => crowd(attacker, 3, () => attacker.ask({ n: 32, max_tokens: 1000, ignore_eos: true })),
  /** 500 prompts in the queue, each almost as long as the context. */
  prompts: (attacker) =>
    crowd(attacker, 500, () => attacker.ask({ content: `${Math.random()} ${'word '.repeat(3000)}`, max_tokens: 4 })),
  /** Grammars and schemas that are large, ambiguous, or both. Each is another one, so that nothing is known about it. */
  grammars: (attacker) =>
    crowd(attacker, 8, () => attacker.ask({ max_tokens: 200, response_format: next(hardFormats)(asked++) })),
  /** 120 uploads of 15 MB that are never finished. */
  uploads: async (attacker) => {
    for (let i = 0; i < 120; i++) attacker.neverFinish(15_000_000)
  },
  /** Bodies of 15 MB: tokens one by one, messages, brackets, and one long text. */
  bodies: (attacker) => crowd(attacker, 6, () => attacker.post('/v1/completions', next(largeBodies))),
  /** Four requests at a time with eight pictures that nobody has seen. */
  pictures: (attacker) =>
    crowd(attacker, 4, async () => {
      const pictures = await Promise.all(Array.from({ length: 8 }, newPicture))
      await attacker.ask({ ...watching, content: pictures.map((file) => image(dataUrl('image/jpeg', file))) })
    }),
  /** Four requests at a time with a video of eight frames that nobody has seen, a file or a list of pictures. */
  videos: (attacker) => {
    const file = someVideo()
    const kinds = [
      async () => dataUrl('video/mp4', another(file)),
      async () => listUrl(await Promise.all(Array.from({ length: 8 }, newPicture))),
    ]
    return crowd(attacker, 4, async () => attacker.ask({ ...watching, content: [video(await next(kinds)())] }))
  },
  /** Four requests at a time with a damaged video, or a list that is a bomb: commas, too many pictures, pictures too large. */
  damaged: async (attacker) => {
    const file = someVideo()
    const [small, large] = await Promise.all([newPicture(), newPicture()])
    // The height and width in its header.
    const size = large.indexOf(Buffer.from([0xff, 0xc0])) + 5
    large.writeUInt32BE(0xfff0_fff0, size)
    const kinds = [
      () => dataUrl('video/mp4', broken(file)),
      () => `data:video/jpeg;base64,${','.repeat(9_900_000)}`,
      () => listUrl(Array(600).fill(small)),
      () => dataUrl('video/mp4', broken(file)),
      () => listUrl(Array(200).fill(small)),
      () => listUrl([small, large]),
    ]
    await crowd(attacker, 4, () => attacker.ask({ ...watching, content: [video(next(kinds)())] }))
  },
}

/** For models and files. */
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-crowd-'))

interface Body extends Record<string, unknown> {
  content?: unknown
}

interface Attacker {
  /** Asks once and reads the whole answer. */
  ask(body: Body): Promise<void>
  /** Asks and leaves the answer in the socket. */
  neverRead(body: Body): void
  /** Sends all of a body but its last byte. @param bytes its length */
  neverFinish(bytes: number): void
  post(path: string, body: string | Buffer): Promise<void>
  readonly signal: AbortSignal
}

const alternatives = (n: number): string => Array.from({ length: 9000 }, (_, i) => `"${n}.${i}"`).join(' | ')
const hardFormats: readonly ((n: number) => object)[] = [
  (n) => ({ type: 'grammar', grammar: `root ::= (${alternatives(n)})+` }),
  (n) => ({ type: 'grammar', grammar: `root ::= "${n}" s\ns ::= "-" s "a" | "-" s "b" | "-" s | [a-z ] s | "."` }),
  (n) => jsonSchema(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${n}_${i}`, { type: 'string' }]))),
  (n) => jsonSchema({ one: { enum: Array.from({ length: 5000 }, (_, i) => `${n} of ${i}`) } }),
]
const jsonSchema = (properties: object) => ({
  type: 'json_schema',
  json_schema: { name: 'hard', schema: { type: 'object', properties } },
})

const listOf = (length: number, item: string): string => `[${`${item},`.repeat(length - 1)}${item}]`
/** Made once: whoever measures time must not spend it on them. */
const largeBodies: readonly Buffer[] = [
  `{"model":"pocket","max_tokens":1,"prompt":${listOf(3_900_000, '[7]')}}`,
  `{"model":"pocket","max_tokens":1,"prompt":${listOf(3_900_000, '17')}}`,
  `{"model":"pocket","messages":${listOf(350_000, '{"role":"user","content":"a"}')}}`,
  `{"model":"pocket","prompt":${'['.repeat(5_000_000)}${']'.repeat(5_000_000)}}`,
  `{"model":"pocket","max_tokens":1,"prompt":"${'word '.repeat(3_000_000)}"}`,
].map((text) => Buffer.from(text))

let turn = 0
/** The entries in turn. */
const next = <T>(entries: readonly T[]): T => entries[turn++ % entries.length] as T

const image = (url: string) => ({ type: 'image_url', image_url: { url } })
const video = (url: string) => ({ type: 'video_url', video_url: { url, max_frames: 8 } })
const dataUrl = (type: string, file: Buffer): string => `data:${type};base64,${file.toString('base64')}`
const listUrl = (files: readonly Buffer[]): string =>
  `data:video/jpeg;base64,${files.map((file) => file.toString('base64')).join(',')}`
const watching = { model: 'watcher', max_tokens: 2, ignore_eos: true }

async function newPicture(): Promise<Buffer> {
  const n = asked++
  const background = { r: (n * 37) % 256, g: (n * 91) % 256, b: (n * 53) % 256 }
  return sharp({ create: { width: 512, height: 288, channels: 3, background } })
    .jpeg()
    .toBuffer()
}

/** Ten seconds of H.264. */
function someVideo(): Buffer {
  const file = path.join(folder, 'video.mp4')
  const source = ['-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=25:duration=10', '-pix_fmt', 'yuv420p']
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...source, '-c:v', 'libx264', file])
  return readFileSync(file)
}

/** The same video as another file. */
const another = (file: Buffer): Buffer => Buffer.concat([file, Buffer.from('\0\0\0\x10free'), randomBytes(8)])

/** A third of it is noise. */
function broken(file: Buffer): Buffer {
  const copy = Buffer.from(file)
  const at = Math.floor(Math.random() * (copy.length / 3)) + 1000
  randomBytes(Math.floor(copy.length / 3)).copy(copy, at)
  return copy
}
/** An innocent request that takes longer has failed. */
const longestMs = 60_000
const chats = '/v1/chat/completions'

async function main(): Promise<void> {
  mkdirSync(path.join(folder, 'watcher'))
  qwen25oHearing.write(path.join(folder, 'watcher/watcher.gguf'), path.join(folder, 'watcher/mmproj-watcher.gguf'))
  process.once('exit', () => rmSync(folder, { recursive: true }))
  const all = Object.keys(attacks)
  const names = flags.attacks?.split(',') ?? [...all, 'grammars+bodies+pdfs', all.join('+')]
  const rows: string[][] = [
    flags.stream
      ? ['attack', 'gap p50', 'p99', 'longest', 'event loop p99', 'the attacker got']
      : ['attack', 'text p50', 'p99', 'picture p50', 'p99', 'asked', 'errors', 'API memory', 'the attacker got'],
  ]
  for (const name of names) {
    const several = name.split('+').map((one) => attacks[one])
    if (several.includes(undefined)) throw new Error(`the attacks are: ${all.join(', ')}`)
    rows.push(await measure(name, (attacker) => Promise.all(several.map((attack) => attack?.(attacker)))))
  }
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of rows) console.log(`| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`)
}

/** Each attack has a server of its own, so that none pays for the one before. */
async function measure(name: string, attack: (attacker: Attacker) => Promise<unknown>): Promise<string[]> {
  const server = await start()
  const over = new AbortController()
  // Each request of the attacker listens to it. undici cannot read the 0 that means the same.
  setMaxListeners(Number.POSITIVE_INFINITY, over.signal)
  const got = new Map<string, number>()
  try {
    // Once without the attack: what is slow only the first time is no harm of others.
    const innocent = clientAt('127.0.0.1', server.url)
    if (flags.stream) await innocent.stream(10)
    for (const body of [text(), await picture()]) await innocent.ask(body, AbortSignal.timeout(longestMs))
    const attacking = attack(attackerOn(server.url, over.signal, got)).catch(() => {})
    await sleep(2000)
    if (flags.stream) return [name, ...(await streamed(innocent, server.child)), outcomeOf(got)]
    const end = performance.now() + Number(flags.seconds) * 1000
    let memory = 0
    const timer = setInterval(() => {
      memory = Math.max(memory, residentMegabytes(server.child))
    }, 250)
    const [texts, pictures] = await Promise.all(
      [async () => text(), picture].map((bodyOf) => timesOf(innocent, bodyOf, end)),
    )
    clearInterval(timer)
    over.abort()
    await attacking
    const both = [texts, pictures].flatMap((one) => one ?? [])
    const errors = both.flatMap(({ error }) => error ?? [])
    const ms = (times: typeof texts, share: number) => {
      const sorted = (times ?? []).map((one) => one.ms).toSorted((a, b) => a - b)
      return `${Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN)} ms`
    }
    return [
      name,
      ...[texts, pictures].flatMap((times) => [ms(times, 0.5), ms(times, 0.99)]),
      String(both.length),
      errors.length === 0 ? '0' : `${errors.length}: ${[...new Set(errors)].join(', ')}`,
      `${memory} MB`,
      outcomeOf(got),
    ]
  } finally {
    over.abort()
    server.child.kill('SIGKILL')
  }
}

const outcomeOf = (got: ReadonlyMap<string, number>): string =>
  [...got].map(([what, count]) => `${count} x ${what}`).join(', ')

/** @returns the gaps between the pieces of streams, and how late the event loop of the server was */
async function streamed(innocent: ReturnType<typeof clientAt>, server: ChildProcess): Promise<string[]> {
  const tell = (question: LoopQuestion) => server.send(question)
  tell('loop-start')
  const gaps: number[] = []
  const end = performance.now() + Number(flags.seconds) * 1000
  while (performance.now() < end) gaps.push(...gapsBetween(await innocent.stream(200)))
  const answer = once(server, 'message')
  tell('loop-end')
  const [delay] = (await answer) as [LoopDelay]
  return [median(gaps), percentile(gaps, 0.99), Math.max(...gaps), delay.p99].map((ms) => `${ms.toFixed(1)} ms`)
}

const gapsBetween = (arrivals: readonly number[]): number[] =>
  arrivals.slice(1).map((time, index) => time - (arrivals[index] ?? time))

/** A client that asks the next question 50 ms after an answer. */
async function timesOf(client: ReturnType<typeof clientAt>, bodyOf: () => Promise<Body>, end: number) {
  const times: { ms: number; error?: string }[] = []
  while (performance.now() < end) {
    const body = await bodyOf()
    const start = performance.now()
    const status = await client.ask(body, AbortSignal.timeout(longestMs)).catch((error: Error) => error.name)
    times.push({ ms: performance.now() - start, ...(status === 200 ? {} : { error: String(status) }) })
    await sleep(50)
  }
  return times
}

let asked = 0
const text = (): Body => ({ content: `Say something about number ${asked++}.`, max_tokens: 24 })
/** A picture that no cache has. */
async function picture(): Promise<Body> {
  const n = asked++
  const background = { r: (n * 37) % 256, g: (n * 91) % 256, b: (n * 53) % 256 }
  const file = await sharp({ create: { width: 320, height: 240, channels: 3, background } })
    .jpeg()
    .toBuffer()
  const url = `data:image/jpeg;base64,${file.toString('base64')}`
  return { content: [image(url), { type: 'text', text: 'What is in this image?' }], max_tokens: 24 }
}

const bodyFor = ({ content = 'Tell me a long story.', ...more }: Body): string =>
  JSON.stringify({ model: 'pocket', messages: [{ role: 'user', content }], ...more })

/** @param address on loopback, by which the server knows the client */
function clientAt(address: string, url: string) {
  const dispatcher = new Agent({ localAddress: address, headersTimeout: 0, bodyTimeout: 0 })
  /** @returns the status */
  const post = async (path: string, body: string | Buffer, signal: AbortSignal): Promise<number> => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body, signal, dispatcher })
    await response.arrayBuffer()
    return response.status
  }
  /** @returns when each piece of a stream of so many tokens came */
  const stream = async (tokens: number): Promise<number[]> => {
    const body = bodyFor({ ...watching, content: `Story ${asked++}`, stream: true, max_tokens: tokens })
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${url}${chats}`, { method: 'POST', headers, body, dispatcher })
    const arrivals: number[] = []
    for await (const _ of response.body ?? []) arrivals.push(performance.now())
    return arrivals
  }
  return { post, stream, ask: (body: Body, signal: AbortSignal) => post(chats, bodyFor(body), signal) }
}

function attackerOn(url: string, signal: AbortSignal, got: Map<string, number>): Attacker {
  const address = '127.0.0.2'
  const client = clientAt(address, url)
  const { hostname, port } = new URL(url)
  const sockets: Socket[] = []
  signal.addEventListener('abort', () => {
    for (const socket of sockets) socket.destroy()
  })
  const count = (what: string): void => void got.set(what, (got.get(what) ?? 0) + 1)
  const post = async (path: string, body: string | Buffer): Promise<void> => {
    const outcome = await client.post(path, body, signal).catch(() => undefined)
    if (outcome !== undefined) count(String(outcome))
  }
  /** Writes a request to a socket whose answer nobody reads. @param bytes the length that it promises */
  const write = (body: string | Buffer, bytes: number): void => {
    const socket = connect({ host: hostname, port: Number(port), localAddress: address })
    socket.on('error', () => {}).pause()
    socket.write(`POST ${chats} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n`)
    socket.write(`content-length: ${bytes}\r\n\r\n`)
    socket.write(body)
    sockets.push(socket)
  }
  return {
    signal,
    post,
    ask: (body) => post(chats, bodyFor(body)),
    neverRead(body) {
      const json = Buffer.from(bodyFor(body))
      write(json, json.length)
      count('stream')
    },
    neverFinish(bytes) {
      write(Buffer.alloc(bytes - 1, ' '), bytes)
      count('upload')
    },
  }
}

/** So many at a time, until the attack is over. */
async function crowd({ signal }: Attacker, size: number, act: () => Promise<void>): Promise<void> {
  const one = async (): Promise<void> => {
    // A refusal comes at once; the attacker does not ask faster than it can.
    while (!signal.aborted) await Promise.all([act(), sleep(20)])
  }
  await Promise.all(Array.from({ length: size }, one))
}

/** No calibration beside the attack, and one thread of the engine, so that a core is left to the server on a machine with two. */
const calm = { ORIEL_VISION_PRECISION: 'fp32', ORIEL_THREADS: '1' }

async function start(): Promise<{ child: ChildProcess; url: string }> {
  const loop = new URL('./event-loop.js', import.meta.url).href
  const child = spawn(process.execPath, ['--import', loop, 'bin/oriel.js', 'serve', '--port', '0'], {
    cwd: flags.of,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    // Linux may give sessions equal parts of the cores: the clients must not take theirs from the server's.
    detached: true,
    env: { ...process.env, ORIEL_LOG_LEVEL: 'error', ORIEL_MODELS_DIR: folder, ...(flags.stream && calm) },
  })
  process.once('exit', () => child.kill('SIGKILL'))
  let out = ''
  for await (const part of child.stdout ?? []) {
    out += part
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(out)?.[0]
    if (url !== undefined) return { child, url }
  }
  throw new Error(`the server did not start: ${out}`)
}

/** Of the API process alone; 0 where there is no /proc. */
function residentMegabytes({ pid }: ChildProcess): number {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000)
  } catch {
    return 0
  }
}

/** A page of 20,000 large paths that are blended with what is below them: 5 kB, and half a minute to render. */
const slowPdf = (() => {
  const paths = Array.from({ length: 20_000 }, () => '10 10 m 580 20 l 570 820 l 20 800 l h f').join('\n')
  const drawing = deflateSync(`/B gs 0.5 0.4 0.3 rg\n${paths}`, { level: 9 })
  const objects: (string | Buffer)[][] = [
    ['<< /Type /Catalog /Pages 2 0 R >>'],
    ['<< /Type /Pages /Count 1 /Kids [3 0 R] >>'],
    [
      '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R',
      '/Resources << /ExtGState << /B << /BM /Luminosity /ca 0.5 >> >> >> >>',
    ],
    [`<< /Length ${drawing.length} /Filter /FlateDecode >>\nstream\n`, drawing, '\nendstream'],
  ]
  const parts = objects.flatMap((object, index) => [`${index + 1} 0 obj\n`, ...object, '\nendobj\n'])
  const file = ['%PDF-1.4\n', ...parts, 'trailer << /Size 5 /Root 1 0 R >>\n%%EOF\n']
  return Buffer.concat(file.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))).toString(
    'base64',
  )
})()

await main()
