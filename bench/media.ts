import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { loadConfig } from '../src/load-config.ts'
import { createMedia } from '../src/media/index.ts'
import { endEvents, promptEvent, scriptedBackend, serveBackend } from '../test/support/scripted.ts'
import type { LoopDelay, LoopQuestion } from './event-loop.js'
import { newImage } from './images.ts'

/**
 * Measures the cost of images before a model sees them: `npx tsx bench/media.ts`. It reports how many 12-megapixel JPEGs
 * one core decodes and shrinks to 512 pixels per second, compared with plain sharp, and how long a request with 30 images
 * of 300 kB blocks the server's event loop.
 */
async function measure(): Promise<void> {
  const { oriel, plain } = await throughput(40)
  console.log(`12-megapixel jpeg to 512 px, one core: ${oriel.toFixed(1)}/s; plain sharp ${plain.toFixed(1)}/s`)
  console.log(`relative to plain sharp: ${((oriel / plain) * 100).toFixed(0)} %`)
  const { idle, busy, ms } = await eventLoop(20)
  console.log(`30 images of 300 kB in one request: ${ms.toFixed(0)} ms`)
  console.log(`event loop delay p99: ${busy.toFixed(1)} ms (idle: ${idle.toFixed(1)} ms)`)
}

async function throughput(count: number): Promise<{ oriel: number; plain: number }> {
  const url = await newImage(4000, 3000, 12)
  const file = Buffer.from(url.slice(url.indexOf(',') + 1), 'base64')
  const media = createMedia({ ...loadConfig({}, {}).media, decoders: 1 })
  const ours = () =>
    media.load(
      [{ kind: 'image', url, param: 'image' }],
      { client: 'one', isolation: randomUUID() },
      { longestEdge: 256 },
      new AbortController().signal,
    )
  sharp.concurrency(1)
  sharp.cache(false)
  const theirs = () => sharp(file).autoOrient().resize(512, 512, { fit: 'inside' }).raw().toBuffer()
  // Alternating, so that other load on the machine affects both. The fastest eighth of the runs is the least disturbed.
  const seconds: Record<'ours' | 'theirs', number[]> = { ours: [], theirs: [] }
  for (let i = -3; i < count; i++)
    for (const [name, load] of [['ours', ours] as const, ['theirs', theirs] as const]) {
      const start = performance.now()
      await load()
      if (i >= 0) seconds[name].push((performance.now() - start) / 1000)
    }
  await media.close()
  return { oriel: 1 / undisturbed(seconds.ours), plain: 1 / undisturbed(seconds.theirs) }
}

const undisturbed = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 3] ?? 0

/** Times in ms. */
async function eventLoop(rounds: number): Promise<{ idle: number; busy: number; ms: number }> {
  const images: string[] = []
  while (images.length < 30) images.push(await image300())
  const content = images.map((url) => ({ type: 'image_url', image_url: { url } }))
  const body = JSON.stringify({ model: 'scripted', messages: [{ role: 'user', content }] })
  const server = fork(fileURLToPath(import.meta.url), ['serve'], { execArgv: process.execArgv })
  try {
    const [url] = (await once(server, 'message')) as [string]
    const send = async () => {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      if (!response.ok) throw new Error(await response.text())
      await response.text()
    }
    await send()
    await tell(server, 'loop-start')
    await new Promise((resolve) => setTimeout(resolve, 3000))
    const idle = await read(server)
    await tell(server, 'loop-start')
    const start = performance.now()
    for (let i = 0; i < rounds; i++) await send()
    return { idle, busy: await read(server), ms: (performance.now() - start) / rounds }
  } finally {
    server.kill()
  }
}

/** A data URL of about 300 kB. */
async function image300(): Promise<string> {
  for (let grain = 24; ; grain += 4) {
    const url = await newImage(1024, 768, grain)
    if (url.length >= 300_000) return url
  }
}

const tell = (server: ChildProcess, question: LoopQuestion): Promise<void> =>
  new Promise((resolve) => server.send(question, () => resolve()))

async function read(server: ChildProcess): Promise<number> {
  const answer = once(server, 'message')
  await tell(server, 'loop-end')
  const [{ p99 }] = (await answer) as [LoopDelay]
  return p99
}

/** The whole server, with a model that generates nothing. */
async function serve(): Promise<void> {
  await import('./event-loop.js')
  const config = loadConfig({ media: { maxBase64Bytes: 20_000_000 } }, {})
  const backend = scriptedBackend(
    async function* () {
      yield promptEvent
      yield* endEvents(0)
    },
    { longestEdge: 512, media: createMedia(config.media) },
  )
  const { url } = await serveBackend(backend)
  process.send?.(url)
}

await (process.argv[2] === 'serve' ? serve() : measure())
