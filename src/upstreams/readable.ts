import type { Reader } from '../media/index.ts'
import { recordingFormats } from '../media/index.ts'
import type { UpstreamApi, UpstreamSettings } from './settings.ts'

/** What a model of an upstream can read. */
export interface Readable {
  readonly image: Reader
  /** Null: its API has no place for it. */
  readonly video: Reader | null
  readonly audio: Reader | null
  /** Bytes of all attachments of a request, before base64. */
  readonly mostBytesTogether: number
  /** Above so many images each of them may only be this long. */
  readonly manyImages: { readonly above: number; readonly longestEdge: number } | null
  /** Whether it fetches http(s) URLs itself. */
  readonly fetchesUrls: boolean
}

/** @param model its id at the upstream */
export function readableBy({ api, models, fetchesUrls }: UpstreamSettings, model: string): Readable {
  const { image, ...others } = apis[api]
  const own = models?.find(({ id }) => id === model)?.longestEdge ?? image.longestEdge
  const longestEdge = own === null ? null : Math.min(own, image.longestEdge ?? own)
  return { ...others, image: { ...image, longestEdge }, fetchesUrls }
}

const MB = 1_000_000
/** As far as is known. */
const noLimit = Number.MAX_SAFE_INTEGER
/** Bytes whose base64 has so many characters. */
const inBase64 = (characters: number): number => Math.floor((characters / 4) * 3)

const reads = (formats: readonly string[], more: Partial<Reader> = {}): Reader => ({
  ...{ formats, mostBytes: noLimit, longestEdge: null, selects: false, frames: false },
  ...more,
})

type ByApi = Omit<Readable, 'fetchesUrls'>
const plain = { video: null, audio: null, mostBytesTogether: noLimit, manyImages: null }

/** From the documents of each API, and what its programs do. Of formats that are not named for sure, the two that all read. */
const everywhere = ['png', 'jpeg']
const onTheWeb = [...everywhere, 'webp', 'gif']
/** What `libsndfile` reads, with which Python programs begin. */
const sounds = ['wav', 'mp3', 'flac', 'ogg']
const videos = ['mp4', 'mov', 'mkv', 'webm', 'avi']

const apis: Readonly<Record<UpstreamApi, ByApi>> = {
  openai: {
    ...plain,
    image: reads(onTheWeb, { mostBytes: 20 * MB }),
    audio: reads(['wav', 'mp3']),
    mostBytesTogether: inBase64(50 * MB),
  },
  fireworks: {
    ...plain,
    image: reads([...everywhere, 'gif']),
    video: reads(['mp4', 'mov', 'webm', 'mkv']),
    audio: reads(sounds),
    mostBytesTogether: inBase64(10 * MB),
  },
  novita: {
    ...plain,
    image: reads([...everywhere, 'webp']),
    video: reads(['mp4', 'mov']),
    audio: reads(['wav', 'mp3']),
  },
  anthropic: {
    ...plain,
    // The limit of 5 MiB counts characters of base64.
    image: reads(onTheWeb, { mostBytes: inBase64(5 * 2 ** 20), longestEdge: 8000 }),
    mostBytesTogether: inBase64(30 * MB),
    manyImages: { above: 20, longestEdge: 2000 },
  },
  vllm: {
    ...plain,
    image: reads(onTheWeb),
    video: reads(videos, { frames: true }),
    audio: reads(sounds),
  },
  sglang: { ...plain, image: reads(onTheWeb), video: reads(videos), audio: reads(sounds) },
  // Its readers are stb_image, miniaudio and ffmpeg. Without ffmpeg it reads no WebP.
  'llama-server': {
    ...plain,
    image: reads(everywhere),
    video: reads(videos),
    audio: reads(['wav', 'mp3', 'flac']),
  },
  ollama: { ...plain, image: reads(everywhere), audio: reads(['wav']) },
  'lm-studio': { ...plain, image: reads([...everywhere, 'webp']) },
  oriel: {
    ...plain,
    image: reads(onTheWeb),
    video: reads(recordingFormats, { selects: true, frames: true }),
    audio: reads(recordingFormats, { selects: true }),
    // What it allows itself, unless it is told otherwise.
    mostBytesTogether: inBase64(10 * MB),
  },
}
