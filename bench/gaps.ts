import { ask, chat, type Part } from './clients.ts'
import { median, percentile } from './figures.ts'
import type { Image } from './images.ts'
import type { Server } from './servers.ts'

/** The gaps between the pieces of a stream, in ms. */
interface Gaps {
  median: number
  p99: number
  longest: number
}

/** The gaps of a stream while an image is answered, and those of a stream with nobody else. */
export interface StreamGaps extends Gaps {
  control: Gaps
}

/** Pieces that a stream has had when the image arrives. */
const before = 32
/** Time that the stream goes on after the answer about the image, in ms. */
const after = 200
/** Maximum number of tokens of the stream. */
const mostTokens = 1500

/** Measures both streams of one server, of which the second has as many pieces. */
export async function measureGaps(server: Server, image: Image, run: number, question: Part): Promise<StreamGaps> {
  const beside = await whileStreaming(server, `${run}: tell me a very long story.`, async () => {
    await chat(server, ask({ image }, question), 4)
    await new Promise((resolve) => setTimeout(resolve, after))
  })
  const control = await chat(server, ask({ text: `${run}: tell me another long story.` }), beside.length)
  return { ...gapsOf(beside), control: gapsOf(control.arrivals) }
}

/** Streams until the work is done. @returns the times of the pieces */
async function whileStreaming(server: Server, text: string, work: () => Promise<void>): Promise<readonly number[]> {
  const leave = new AbortController()
  const arrivals: number[] = []
  const stream = chat(server, ask({ text }), mostTokens, leave.signal, arrivals)
  stream.catch(() => {})
  while (arrivals.length < before) await Promise.race([new Promise((resolve) => setTimeout(resolve, 20)), stream])
  await work()
  leave.abort()
  return arrivals
}

export function gapsOf(arrivals: readonly number[]): Gaps {
  const gaps = arrivals.slice(1).map((time, index) => time - (arrivals[index] ?? time))
  return { median: median(gaps), p99: percentile(gaps, 0.99), longest: Math.max(...gaps) }
}
