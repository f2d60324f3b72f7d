import { audioRate, type Hearing, type Spectrogram } from '../audio-architecture.ts'
import { powerSpectra } from './fourier.ts'

/** How a spectrogram of mel bands is made. Lengths are in samples. */
export interface MelKind {
  readonly rate: number
  /** Bands, which are the width of a row. */
  readonly bands: number
  /** Of the frame whose spectrum is taken. */
  readonly frame: number
  /** Of the Hann window in the middle of the frame, if it is shorter. */
  readonly window?: number
  /** From one frame to the next. */
  readonly hop: number
  /** Of the powers of bands: those that are smaller count as this. */
  readonly least: number
  readonly log: (value: number) => number
  /** By default Slaney's, in which bands have equal areas. */
  readonly scale?: 'slaney' | 'htk'
  /** Whether bands hear magnitudes instead of powers. */
  readonly magnitudes?: boolean
}

/** The spectrogram that OpenAI trained Whisper with. */
export const whisperMel = { rate: audioRate, frame: 400, hop: 160, least: 2 ** -24, log: Math.log10 } as const

/** Frames between two yields, which take a few ms. */
const stretch = 256

/** After llama.cpp's tools/mtmd (`log_mel_spectrogram`). @param window of a frame; by default Hann's */
export function* logMel(samples: Float32Array, kind: MelKind, window = hann(kind.window ?? kind.frame)): Hearing {
  const { bands: width, frame, hop, least, log, magnitudes = false } = kind
  const frames = Math.max(0, Math.floor((samples.length - frame) / hop) + 1)
  const values = new Float32Array(frames * width)
  const bands = bandsOf(kind)
  const spectra = powerSpectra(frame)
  const [a, b] = [new Float64Array(frame), new Float64Array(frame)]
  const [powersOfA, powersOfB] = [new Float64Array(frame / 2 + 1), new Float64Array(frame / 2 + 1)]
  const silence = log(least)
  const edge = (frame - window.length) / 2

  /** Writes the windowed frame. @returns whether it is silent */
  const take = (index: number, into: Float64Array): boolean => {
    const start = index * hop + edge
    let isSilent = true
    for (let at = 0; at < window.length; at++) {
      const value = (samples[start + at] as number) * (window[at] as number)
      into[edge + at] = value
      if (value !== 0) isSilent = false
    }
    into.fill(0, 0, edge)
    into.fill(0, edge + window.length)
    return isSilent
  }
  const write = (index: number, powers: Float64Array): void => {
    if (magnitudes) for (let k = 0; k < powers.length; k++) powers[k] = Math.sqrt(powers[k] as number)
    for (const [band, { from, weights }] of bands.entries()) {
      let sum = 0
      for (let k = 0; k < weights.length; k++) sum += (powers[from + k] as number) * (weights[k] as number)
      values[index * width + band] = log(Math.max(sum, least))
    }
  }

  let waiting: number | null = null
  const transform = (second: number | null): void => {
    if (waiting === null) return
    spectra(a, b, powersOfA, powersOfB)
    write(waiting, powersOfA)
    if (second !== null) write(second, powersOfB)
    waiting = null
  }
  for (let index = 0; index < frames; index++) {
    if (index % stretch === 0) yield
    if (take(index, waiting === null ? a : b)) values.fill(silence, index * width, (index + 1) * width)
    else if (waiting === null) waiting = index
    else transform(index)
  }
  b.fill(0)
  transform(null)
  return { values, width }
}

/** Hann's window, of a period of `length`. */
export const hann = (length: number): Float32Array =>
  Float32Array.from({ length }, (_, at) => 0.5 * (1 - Math.cos((2 * Math.PI * at) / length)))

/** The frequencies that a band hears, from the `from`th. */
interface Band {
  readonly from: number
  readonly weights: Float32Array
}

function bandsOf({ rate, bands, frame, scale = 'slaney' }: MelKind): Band[] {
  const { mel, hertz } = scales[scale]
  const [low, high] = [mel(0), mel(rate / 2)]
  const edges = Array.from({ length: bands + 2 }, (_, at) => hertz(low + ((high - low) * at) / (bands + 1)))
  return Array.from({ length: bands }, (_, band) => {
    const [left, centre, right] = edges.slice(band, band + 3) as [number, number, number]
    const weightAt = (frequency: number): number => {
      const weight = frequency <= centre ? (frequency - left) / (centre - left) : (right - frequency) / (right - centre)
      return scale === 'slaney' ? (2 * weight) / (right - left) : weight
    }
    const step = rate / frame
    const from = Math.ceil(left / step)
    const end = Math.min(frame / 2, Math.floor(right / step)) + 1
    return {
      from,
      weights: Float32Array.from({ length: Math.max(0, end - from) }, (_, k) => weightAt((from + k) * step)),
    }
  })
}

/** Slaney's scale is linear below 1000 Hz. */
const slaney = { edge: 1000, perMel: 200 / 3, edgeMel: 15, step: Math.log(6.4) / 27 }

const scales = {
  slaney: {
    mel: (hertz: number) =>
      hertz < slaney.edge ? hertz / slaney.perMel : slaney.edgeMel + Math.log(hertz / slaney.edge) / slaney.step,
    hertz: (mel: number) =>
      mel < slaney.edgeMel ? mel * slaney.perMel : slaney.edge * Math.exp((mel - slaney.edgeMel) * slaney.step),
  },
  htk: {
    mel: (hertz: number) => 2595 * Math.log10(1 + hertz / 700),
    hertz: (mel: number) => 700 * (10 ** (mel / 2595) - 1),
  },
} as const

/** The sound, mirrored at both ends by so many samples: beyond the other end of a short sound there is silence. */
export function mirrored(samples: Float32Array, by: number): Float32Array {
  const padded = new Float32Array(samples.length + 2 * by)
  padded.set(samples, by)
  const end = by + samples.length
  for (let at = 1; at <= by; at++) {
    padded[by - at] = samples[at] ?? 0
    padded[end - 1 + at] = samples[samples.length - 1 - at] ?? 0
  }
  return padded
}

/** Whisper's range: eight decades below the loudest number, around 0. */
export function inWhisperRange({ values, width }: Spectrogram): Spectrogram {
  let most = Number.NEGATIVE_INFINITY
  for (const value of values) if (value > most) most = value
  // By index, which takes a tenth of the time of `entries`: a long sound has millions of values.
  for (let at = 0; at < values.length; at++) values[at] = (Math.max(values[at] as number, most - 8) + 4) / 4
  return { values, width }
}
