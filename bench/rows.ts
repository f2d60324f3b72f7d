import { withFreshCache } from './load.ts'
import {
  clients,
  crowd,
  encode,
  eventLoop,
  firstImage,
  followUp,
  freeSpeed,
  gaps,
  gateway,
  heldSpeed,
  heldToFree,
  inPairs,
  loadAgain,
  loads,
  type Pair,
  type Sample,
  seenImage,
  sharedPrefix,
  threeTurns,
  visionMemory,
} from './measures.ts'
import type { Precision } from './servers.ts'

/** A row of the table. */
export interface Row {
  id: string
  what: string
  /** The meaning of `figure` in samples. */
  figure:
    | 'Oriel : llama-server'
    | 'Oriel : libmtmd'
    | 'warm : own cold'
    | 'p99 gap : median gap'
    | 'longest gap : that of the control'
    | 'held : own free'
    | 'Oriel : its parts alone'
    | 'delay : median gap'
    | 'peak : kept'
  bar: { most: number } | { least: number }
  /** The precision of Oriel's image encoder. */
  precision: Precision
  /** @param run counts from 0; odd runs measure llama-server first */
  measure(pair: Pair, run: number): Promise<Sample>
}

const versus = 'Oriel : llama-server'

export const rows: readonly Row[] = [
  {
    id: 'load-first',
    what: 'load of a model until it answers, first time',
    figure: versus,
    bar: { most: 1.3 },
    precision: 'auto',
    measure: (pair, run) => withFreshCache((cache) => loads(pair, run, cache)),
  },
  {
    id: 'load-again',
    what: 'load of a model until it answers, loaded here before',
    figure: versus,
    bar: { most: 1 },
    precision: 'auto',
    measure: loadAgain,
  },
  {
    id: 'memory',
    what: 'memory of the vision encoder, first load, fp32',
    figure: 'peak : kept',
    bar: { most: 1.3 },
    precision: 'fp32',
    measure: (pair) => visionMemory(pair, 'fp32'),
  },
  {
    id: 'memory-int8',
    what: 'memory of the vision encoder, first load, int8',
    figure: 'peak : kept',
    bar: { most: 1.3 },
    precision: 'auto',
    measure: (pair) => visionMemory(pair, 'int8'),
  },
  {
    id: 'first-image',
    what: 'TTFT, first request with an image, as installed',
    figure: versus,
    bar: { most: 0.45 },
    precision: 'auto',
    measure: firstImage,
  },
  {
    id: 'first-image-fp32',
    what: 'TTFT, first request with an image, fp32 vision',
    figure: versus,
    bar: { most: 0.65 },
    precision: 'fp32',
    measure: firstImage,
  },
  {
    id: 'encode',
    what: 'encoding of a new image, as installed',
    figure: 'Oriel : libmtmd',
    bar: { most: 0.5 },
    precision: 'auto',
    measure: encode,
  },
  {
    id: 'encode-fp32',
    what: 'encoding of a new image, fp32 vision',
    figure: 'Oriel : libmtmd',
    bar: { most: 0.6 },
    precision: 'fp32',
    measure: encode,
  },
  {
    id: 'seen-image',
    what: 'TTFT, cached image in a different prompt',
    figure: versus,
    bar: { most: 0.35 },
    precision: 'auto',
    measure: seenImage,
  },
  {
    id: 'follow-up-8',
    what: 'TTFT, next turn of a chat that sends its 8 photos again',
    figure: versus,
    bar: { most: 0.15 },
    precision: 'fp32',
    measure: (pair, run) => followUp(pair, run, 8),
  },
  {
    id: 'follow-up-1',
    what: 'TTFT, next turn of a chat that sends its photo again',
    figure: versus,
    bar: { most: 0.5 },
    precision: 'fp32',
    measure: (pair, run) => followUp(pair, run, 1),
  },
  {
    id: 'shared-prefix',
    what: 'TTFT, same prefix with image, other client',
    figure: 'warm : own cold',
    bar: { most: 0.1 },
    precision: 'auto',
    measure: sharedPrefix,
  },
  {
    id: 'decode',
    what: 'single stream decode, tokens/s',
    figure: versus,
    bar: { least: 0.99 },
    precision: 'auto',
    measure: (pair, run) => inPairs(pair, run, freeSpeed),
  },
  {
    id: 'schema',
    what: 'answers held to a JSON Schema of 25 keys, tokens/s',
    figure: versus,
    bar: { least: 1.2 },
    precision: 'auto',
    measure: (pair, run) => inPairs(pair, run, heldSpeed),
  },
  {
    id: 'schema-free',
    what: 'answers held to that schema, tokens/s',
    figure: 'held : own free',
    bar: { least: 0.8 },
    precision: 'auto',
    measure: heldToFree,
  },
  {
    id: 'crowd-new',
    what: '8 clients, each with a new image, tokens/s',
    figure: versus,
    bar: { least: 1.5 },
    precision: 'auto',
    measure: (pair, run) => crowd(pair, run, clients),
  },
  {
    id: 'crowd-shared',
    what: '8 clients, different questions, the same 2 images, tokens/s',
    figure: versus,
    bar: { least: 3.5 },
    precision: 'auto',
    measure: (pair, run) => crowd(pair, run, 2),
  },
  {
    id: 'turns',
    what: '8 clients, 3 turns each on their own image, total time, as installed',
    figure: versus,
    bar: { most: 0.65 },
    precision: 'auto',
    measure: threeTurns,
  },
  {
    id: 'gap',
    what: 'p99 gap of a stream while a 4-megapixel image arrives',
    figure: 'p99 gap : median gap',
    bar: { most: 3 },
    precision: 'auto',
    measure: (pair, run) => gaps(pair, run, ({ p99, median }) => p99 / median),
  },
  {
    id: 'longest-gap',
    what: 'longest gap of that stream, compared with one that nobody disturbs',
    figure: 'longest gap : that of the control',
    bar: { most: 1.5 },
    precision: 'auto',
    measure: (pair, run) => gaps(pair, run, ({ longest, control }) => longest / control.longest),
  },
  {
    id: 'gateway',
    what: 'time of a request with a 100 kB image outside the engine, p50',
    figure: 'Oriel : its parts alone',
    bar: { most: 1.5 },
    precision: 'auto',
    measure: gateway,
  },
  {
    id: 'event-loop',
    what: 'event loop delay of the API process, p99, 8 clients with 100 kB images',
    figure: 'delay : median gap',
    bar: { most: 2 },
    precision: 'auto',
    measure: eventLoop,
  },
]
