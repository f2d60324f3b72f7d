import { type Answer, ask, chat, encodeTime, gatewayTime, heldTo, type Part, type Turn } from './clients.ts'
import { peerEncodeTime } from './encode.ts'
import { median } from './figures.ts'
import { gapsOf, measureGaps, type StreamGaps } from './gaps.ts'
import { decodingTime, type Image, newImage, newImages } from './images.ts'
import { emptyRequest } from './limits.ts'
import { encoderMemory, load, withFreshCache } from './load.ts'
import { quiet, undisturbed } from './machine.ts'
import type { BenchModel } from './model-files.ts'
import { parcel } from './schema.ts'
import type { OrielServer, Server } from './servers.ts'

/** Both servers with the same model. Only one computes at a time. */
export interface Pair {
  model: BenchModel
  /** Threads of each server. */
  threads: number
  oriel: OrielServer
  peer: Server
  /** Starts another server with the same model and settings. @param cache a folder for what Oriel keeps on disk */
  startOriel(cache: string): Promise<Server>
  startPeer(): Promise<Server>
}

export interface Sample {
  figure: number
  /** The measurement of Oriel in ms, tokens/s or bytes, or the figure if that is a ratio of one server. */
  oriel: number
  peer: number | null
  /** What the figure of a stream was calculated from. */
  gaps?: Readonly<Record<Server['name'], StreamGaps>>
  /** Whether other processes used the machine during the measurement. */
  disturbed: boolean
}

export const clients = 8

/** The length of an answer whose first token is timed. */
const short = 4
/** Turns of a chat that are timed. */
const followUps = 3

/** Warms up memory and threads. */
export async function warmUp({ oriel, peer }: Pair): Promise<void> {
  for (const server of [oriel, peer])
    for (const image of await newImages(3)) await chat(server, ask({ image }, question(0)), 48)
}

export const loads = (pair: Pair, run: number, cache: string): Promise<Sample> =>
  compare(pair, run, async ({ name }, later) => {
    const { server, ms } = await load(name === 'oriel' ? () => pair.startOriel(cache) : pair.startPeer)
    later(server.stop)
    return ms
  })

export const loadAgain = (pair: Pair, run: number): Promise<Sample> =>
  withFreshCache(async (cache) => {
    const { server } = await load(() => pair.startOriel(cache))
    // Its encoder is open then, and has kept its weights.
    await chat(server, ask({ image: await newImage() }), 1)
    await server.stop()
    return loads(pair, run, cache)
  })

export async function visionMemory({ model, threads }: Pair, precision: 'fp32' | 'int8'): Promise<Sample> {
  const { peak, kept } = await encoderMemory({ file: model.projector, precision, threads })
  return { figure: peak / kept, oriel: kept, peer: null, disturbed: false }
}

export async function firstImage(pair: Pair, run: number): Promise<Sample> {
  const image = await newImage()
  return compare(pair, run, async (server) => (await chat(server, ask({ image }, question(1)), short)).firstToken)
}

export async function encode(pair: Pair, run: number): Promise<Sample> {
  const image = await newImage()
  return compare(pair, run, (server) =>
    server.name === 'oriel' ? encodeTime(server, image) : peerEncodeTime(pair.model, image, pair.threads),
  )
}

export async function seenImage(pair: Pair, run: number): Promise<Sample> {
  const image = await newImage()
  return compare(pair, run, async (server) => {
    await chat(server, ask({ image }, question(1)), short)
    return (await chat(server, ask(question(2), { image }), short)).firstToken
  })
}

/** The photos are sent with every turn, as clients of OpenAI's chats do. The first turn is not measured. */
export async function followUp(pair: Pair, run: number, count: number): Promise<Sample> {
  const images = await photos(count)
  return compare(pair, run, async (server) => {
    const turns = ask(...images.map((image) => ({ image })), question(run))
    const times: number[] = []
    for (let turn = 0; turn <= followUps; turn++) {
      const { text, firstToken } = await chat(server, turns, short)
      if (turn > 0) times.push(firstToken)
      turns.push({ role: 'assistant', parts: [{ text }] }, ...ask(question(run + turn + 1)))
    }
    return median(times)
  })
}

export async function sharedPrefix(pair: Pair, run: number): Promise<Sample> {
  const image = await newImage()
  const sample = await compare(pair, run, async (server) => {
    const cold = await chat(server, ask({ image }, question(1)), short)
    const warm = await chat(server, ask({ image }, question(2)), short)
    return warm.firstToken / cold.firstToken
  })
  return { ...sample, figure: sample.oriel }
}

export async function heldToFree(pair: Pair, run: number): Promise<Sample> {
  const sample = await inPairs(pair, run, async (server, number) => {
    const held = await heldSpeed(server, number)
    return held / (await freeSpeed(server, number))
  })
  return { ...sample, figure: sample.oriel }
}

export async function freeSpeed(server: Server, number: number): Promise<number> {
  return speedOf(await chat(server, ask({ text: `${number}: tell me a very long story.` }), 128))
}

export async function heldSpeed(server: Server, number: number): Promise<number> {
  return speedOf(await chat(server, ask({ text: `${number}: describe a parcel.` }), 128, undefined, [], heldTo(parcel)))
}

/** Tokens/s from the first token to the last. */
const speedOf = ({ tokens, arrivals }: Answer): number =>
  ((tokens - 1) / ((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0))) * 1000

/** Short measurements of both servers in turn: what disturbs one disturbs the other. */
export async function inPairs(
  pair: Pair,
  run: number,
  measure: (server: Server, number: number) => Promise<number>,
): Promise<Sample> {
  const samples: Sample[] = []
  for (let number = 3 * run; number < 3 * run + 3; number++)
    samples.push(await compare(pair, number, (server) => measure(server, number)))
  const middle = (of: (sample: Sample) => number) => median(samples.map(of))
  return {
    figure: middle(({ figure }) => figure),
    oriel: middle(({ oriel }) => oriel),
    peer: middle(({ peer }) => peer ?? Number.NaN),
    disturbed: samples.some(({ disturbed }) => disturbed),
  }
}

/** All clients at once, with this many different images. */
export async function crowd(pair: Pair, run: number, different: number): Promise<Sample> {
  const images = await newImages(different)
  return compare(pair, run, async (server) => {
    const start = performance.now()
    const answers = await everyone((client) => chat(server, ask({ image: at(images, client) }, question(client)), 48))
    const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0)
    return (tokens / (performance.now() - start)) * 1000
  })
}

export async function threeTurns(pair: Pair, run: number): Promise<Sample> {
  const images = await newImages(clients)
  return compare(pair, run, async (server) => {
    const start = performance.now()
    await everyone(async (client) => {
      const turns: Turn[] = ask({ image: at(images, client) }, question(client))
      for (let turn = 0; turn < 3; turn++) {
        const { text } = await chat(server, turns, 32)
        turns.push({ role: 'assistant', parts: [{ text }] }, ...ask(question(client + turn + 1)))
      }
    })
    return performance.now() - start
  })
}

/** Both rows of gaps are of the same streams. */
const measured = new WeakMap<Pair, Awaited<ReturnType<typeof both<StreamGaps>>>[]>()

export async function gaps(pair: Pair, run: number, figureOf: (gaps: StreamGaps) => number): Promise<Sample> {
  const runs = measured.get(pair) ?? []
  measured.set(pair, runs)
  const image = await newImage(2048, 2048)
  runs[run] ??= await both(pair, run, (server) => measureGaps(server, image, run, question(1)))
  const { values, disturbed } = runs[run]
  const [oriel, peer] = [figureOf(values.oriel), figureOf(values['llama-server'])]
  return { figure: oriel, oriel, peer, gaps: values, disturbed }
}

/** The parts are the decoding of the image by the same library, and a request that asks for nothing. */
export async function gateway({ oriel }: Pair): Promise<Sample> {
  const images = await hundredKilobytes(16)
  await quiet()
  const { result, disturbed } = await undisturbed(async () => {
    const times: number[] = []
    const decoding: number[] = []
    for (const [index, image] of images.entries()) {
      times.push(await gatewayTime(oriel, image, `Question ${index}?`))
      decoding.push(await decodingTime(image))
    }
    return { whole: median(times), parts: median(decoding) + (await emptyRequest(oriel)) }
  })
  const { whole, parts } = result
  return { figure: whole / parts, oriel: whole, peer: null, disturbed }
}

export async function eventLoop(pair: Pair, run: number): Promise<Sample> {
  const images = await hundredKilobytes(clients * 4)
  const { arrivals } = await chat(pair.oriel, ask({ text: `${run}: tell me a story.` }), 64)
  await quiet()
  pair.oriel.watchLoop()
  const { disturbed } = await undisturbed(() =>
    everyone(async (client) => {
      for (let index = client; index < images.length; index += clients)
        await gatewayTime(pair.oriel, at(images, index), `Question ${index}?`)
    }),
  )
  const { p99 } = await pair.oriel.loopDelay()
  return { figure: p99 / gapsOf(arrivals).median, oriel: p99, peer: null, disturbed }
}

/** Compares one number of both servers. */
async function compare(pair: Pair, run: number, measure: Measure<number>): Promise<Sample> {
  const { values, disturbed } = await both(pair, run, measure)
  const [of, to] = [values.oriel, values['llama-server']]
  return { figure: of / to, oriel: of, peer: to, disturbed }
}

/**
 * @param later ends a process after the measurement: the time of one that has ended cannot be told from that of other
 * programs
 */
type Measure<T> = (server: Server, later: (end: () => Promise<void>) => void) => Promise<T>

/** Measures one server, then the other, each on an idle machine. */
async function both<T>({ oriel, peer }: Pair, run: number, measure: Measure<T>) {
  const order = run % 2 === 0 ? [oriel, peer] : [peer, oriel]
  const results: { name: Server['name']; result: T; disturbed: boolean }[] = []
  for (const server of order) {
    await quiet()
    const ends: (() => Promise<void>)[] = []
    results.push({ name: server.name, ...(await undisturbed(() => measure(server, (end) => ends.push(end)))) })
    for (const end of ends) await end()
  }
  const values = Object.fromEntries(results.map(({ name, result }) => [name, result])) as Record<Server['name'], T>
  return { values, disturbed: results.some((one) => one.disturbed) }
}

const everyone = <T>(act: (client: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: clients }, (_, client) => act(client)))

/** Images of 1280 x 960 pixels with the grain that makes files of about 309 kB. */
const photos = (count: number): Promise<Image[]> =>
  Promise.all(Array.from({ length: count }, () => newImage(1280, 960, 25)))

/** Images of 640 x 480 pixels with the grain that makes files of about 100 kB. */
const hundredKilobytes = (count: number): Promise<Image[]> =>
  Promise.all(Array.from({ length: count }, () => newImage(640, 480, 30)))

const at = (images: readonly Image[], index: number): Image => images[index % images.length] as Image

/** Questions whose first words differ. */
function question(number: number): Part {
  const questions = [
    'What is in this image?',
    'Describe the colours of this image, from the top to the bottom.',
    'How many objects can be seen here?',
    'Where was this image taken, and when?',
    'Is there any text in it? Read it out.',
    'Name the largest thing that you see.',
    'Tell a story about this scene.',
    'Which season is it, and why?',
    'Give this image a title.',
    'Does anybody look at the camera?',
    'List everything on the left side.',
  ]
  return { text: questions[number % questions.length] as string }
}
