import { audioRate } from '../../src/encoders/index.ts'
import type { Frame, Loaded, LoadedAudio, LoadedVideo, Media, Sound } from '../../src/media/index.ts'
import { everyImage } from './scripted.ts'

/** A frame of one colour. */
export function frameAt(time: number, colour: readonly [number, number, number], width = 64, height = width): Frame {
  const rgb = new Uint8Array(width * height * 3)
  for (let at = 0; at < rgb.length; at++) rgb[at] = colour[at % 3] ?? 0
  let gone = false
  const original = { width, height }
  return {
    ...{ width, height, original, time, page: 1, hash: `${colour} ${width}x${height}` },
    get rgb() {
      return gone ? new Uint8Array() : rgb
    },
    decode: async () => rgb.slice(),
    letGo: () => {
      gone = true
    },
  }
}

/** A video of frames of one colour each, one a second. */
export const videoOf = (colours: readonly (readonly [number, number, number])[], size?: number): LoadedVideo => ({
  kind: 'video',
  frames: colours.map((colour, time) => frameAt(time, colour, size)),
  seconds: colours.length,
  ...{ sound: null, format: 'mp4', bytes: 1000, from: 'request', fetchMs: 0, decodeMs: 5 },
})

/** Colours that are not equal. @param from of the first */
export const manyColours = (count: number, from = 0): [number, number, number][] =>
  Array.from({ length: count }, (_, at) => [(from + at) % 256, (at * 31) % 256, Math.floor((from + at) / 256)])

/** Media whose files are made for each request by their URL; anything else is a small image. */
export const mediaWith = (files: Readonly<Record<string, () => Loaded>>): Media => ({
  ...everyImage,
  async load(sources, ...more) {
    const images = await everyImage.load(sources, ...more)
    return images.map((image, index) => sources[index]?.loaded ?? files[sources[index]?.url ?? '']?.() ?? image)
  },
})

/** A sound of one pitch, which the name distinguishes from others. */
export function soundOf(name: string, seconds: number, pitch = 440) {
  const samples = Math.round(seconds * audioRate)
  const sound = {
    ...{ seconds, samples, hash: name },
    decodes: 0,
    gone: 0,
    async decode() {
      sound.decodes++
      return Float32Array.from({ length: samples }, (_, at) => Math.sin((2 * Math.PI * pitch * at) / audioRate) / 2)
    },
    letGo() {
      sound.gone++
    },
  }
  return sound satisfies Sound
}

export const audioOf = (sound: Sound): LoadedAudio => ({
  ...{ kind: 'audio', sound, format: 'wav', bytes: 1000, from: 'request', fetchMs: 0, decodeMs: 3 },
})
