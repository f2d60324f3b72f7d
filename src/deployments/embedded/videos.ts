import type { ImageAttachment, PromptPiece } from '../../engine/index.ts'
import type { Frame, LoadedVideo } from '../../media/index.ts'
import type { VideoFormat } from '../../prompt/index.ts'
import type { Attachment } from '../ask.ts'
import type { AnsweredVideo } from '../backend.ts'
import { answeredAudio, audioPiece } from './audio.ts'
import { imagePiece, type Reading, sumOf } from './images.ts'
import type { PromptFile, Told } from './prompt-file.ts'

/** How a model reads videos. */
export interface VideoReading {
  format: VideoFormat
  /** Frames that its encoder joins. */
  framesPerTile: number
}

/** The longest edge of a frame that is read with few tokens, in pixels. */
const edgeOfFew = 512

/** The source of a video, whose frames are not loaded larger than the model reads them. */
export function videoSource(source: Attachment): Attachment {
  const { kind, frames } = source
  if (kind !== 'video' || !isOfFew(source) || frames?.longestEdge !== undefined) return source
  return { ...source, frames: { ...frames, longestEdge: edgeOfFew } }
}

/** Frames are read with fewer tokens than images, of which a video has many, unless the request says how. */
const isOfFew = ({ detail, bounds }: Attachment): boolean => detail === 'auto' && bounds === undefined

const readingOf = (source: Attachment): Reading => ({
  detail: isOfFew(source) ? 'low' : source.detail,
  bounds: { ...source.bounds, frame: true },
})

/** A video: its frames in the text that the model was trained with, and its sound behind them if the model hears. */
export class PromptVideo implements PromptFile {
  readonly text = '<video>'
  readonly #file: LoadedVideo
  readonly #source: Attachment
  readonly #reading: VideoReading
  #taken: readonly Frame[]
  #views: readonly View[] | undefined
  #pieces: readonly PromptPiece[] | undefined

  constructor(file: LoadedVideo, source: Attachment, reading: VideoReading) {
    this.#file = file
    this.#source = source
    this.#reading = reading
    this.#taken = file.frames
  }

  /** All that were loaded. */
  get frames(): readonly Frame[] {
    return this.#file.frames
  }

  /** Whether the request leaves open how many frames the model reads. */
  get isOpen(): boolean {
    return this.#source.frames?.most === undefined
  }

  get pieces(): readonly PromptPiece[] {
    this.#pieces ??= this.#layOut()
    return this.#pieces
  }

  take(most: number): void {
    const { frames } = this
    const count = Math.min(most, frames.length)
    // The middles of equal parts.
    const middle = (part: number): number => Math.floor(((part + 0.5) * frames.length) / count)
    this.#taken = Array.from({ length: count }, (_, part) => frames[middle(part)]).filter((one) => one !== undefined)
    this.#views = undefined
    this.#pieces = undefined
  }

  letGoOfOthers(): void {
    const taken = new Set(this.#taken)
    for (const frame of this.frames) if (!taken.has(frame)) frame.letGo()
  }

  tokens(told: readonly Told[]) {
    return { videoTokens: [sumOf(told.filter(isSeen))], audioTokens: told.filter(isHeard).map(({ tokens }) => tokens) }
  }

  counted(told: readonly Told[]) {
    return { kind: 'video', tokens: sumOf(told), frames: this.#taken.length } as const
  }

  answered(told: readonly Told[]) {
    const { frames, seconds, sound, fetchMs, decodeMs } = this.#file
    const seen = told.filter(isSeen)
    const [first] = this.#taken
    const video: AnsweredVideo = {
      ...{ param: this.#source.param, seconds, width: first?.width ?? 0, height: first?.height ?? 0 },
      seen: seen.flatMap(({ work }) => (work?.kind === 'image' ? work.seen : []))[0] ?? { width: 0, height: 0 },
      tokens: sumOf(seen),
      ...{ found: frames.length, taken: this.#taken.length },
      frames: seen.flatMap(({ tokens, work }, view) => {
        const [frame] = this.#viewed[view] ?? []
        if (work === undefined || frame === undefined) return []
        return { time: frame.time, tokens, cached: work.cached, encodeMs: work.encodeMs }
      }),
      ...{ fetchMs, decodeMs },
    }
    const audio = sound === null ? [] : answeredAudio(told.filter(isHeard), sound, this.#file, this.#source)
    return { videos: [video], audio }
  }

  get #viewed(): readonly View[] {
    this.#views ??= viewsOf(this.#taken, this.#reading.framesPerTile)
    return this.#views
  }

  #layOut(): PromptPiece[] {
    const { seconds, sound } = this.#file
    const { format } = this.#reading
    const views = this.#viewed.map((view) => view.map(({ time }) => time))
    const later = format.later?.(views)
    const frames = this.#viewed.map((view, at) => ({
      ...viewPiece(view, readingOf(this.#source)),
      later: later?.[at],
    }))
    const seen = format.layout({ views, seconds }).flatMap((part): PromptPiece[] => {
      if (typeof part === 'string') return [{ kind: 'text', text: part, special: true }]
      const frame = frames[part]
      return frame === undefined ? [] : [frame]
    })
    return sound === null ? seen : [...seen, audioPiece(sound)]
  }
}

const isSeen = ({ piece }: Told): boolean => piece.kind === 'image'
const isHeard = ({ piece }: Told): boolean => piece.kind === 'audio'

/** A frame, or two of equal size that the encoder joins. The last frame may be left alone. */
type View = readonly Frame[]

function viewsOf(frames: readonly Frame[], framesPerTile: number): View[] {
  const views: View[] = []
  for (const frame of frames) {
    const last = views.at(-1)
    const [before] = last ?? []
    const joins = last !== undefined && last.length < framesPerTile
    if (joins && before?.width === frame.width && before.height === frame.height)
      views[views.length - 1] = [...last, frame]
    else views.push([frame])
  }
  return views
}

function viewPiece(view: View, reading: Reading): ImageAttachment {
  const [first, second] = view
  if (first === undefined) throw new Error('a view without a frame')
  const alone = { ...imagePiece(first, reading), frames: view.length }
  if (second === undefined) return alone
  // The encoder repeats a frame that is alone.
  if (second.hash === first.hash) return { ...alone, pixels: sameTwice(first, second) }
  return { ...alone, hash: `${first.hash}+${second.hash}`, nextPixels: second }
}

const sameTwice = (first: Frame, second: Frame): ImageAttachment['pixels'] => ({
  get rgb() {
    return first.rgb
  },
  decode: () => first.decode(),
  letGo() {
    first.letGo()
    second.letGo()
  },
})
