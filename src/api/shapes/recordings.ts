import { z } from 'zod'
import type { AnsweredAudio, AnsweredVideo } from '../../deployments/index.ts'
import { cached, rounded, size, work } from './pictures.ts'

/** What became of each video of an answered prompt. */
export const answeredVideos = z
  .array(
    z.strictObject({
      param: work.param,
      seconds: z.number().describe('Of the whole video.'),
      width: z.int().describe("Of its frames when the model's own scaling begins, in pixels."),
      height: z.int(),
      seen: size.describe('The size at which the model sees them.'),
      tokens: z.int().describe('Of all frames, with the marks around them and without the text between them.'),
      found: z.int().describe('Frames that were loaded.'),
      taken: z.int().describe('Frames that the model read: fewer if the context has no room for all.'),
      // One for each frame, or for two that the model reads as one.
      frames: z.array(
        z.strictObject({
          time: z.number().describe('When it is shown, in seconds from the start of the file.'),
          tokens: z.int(),
          cached,
          encode_ms: work.encode_ms,
        }),
      ),
      fetch_ms: work.fetch_ms,
      decode_ms: work.decode_ms,
    }),
  )
  .describe('Each video, with the frames that the model saw, if there are any and the request includes them.')

/** What became of each audio, and of the sound of videos. */
export const answeredAudio = z
  .array(
    z.strictObject({
      param: work.param,
      seconds: z.number().describe('That the model heard.'),
      tokens: z.int(),
      chunks: z.int().describe('Parts of it that are encoded by themselves.'),
      cached,
      fetch_ms: work.fetch_ms,
      decode_ms: work.decode_ms,
      encode_ms: work.encode_ms,
    }),
  )
  .describe('Each audio and the sound of each video, if the model heard any and the request includes it.')

export const videosOf = (videos: readonly AnsweredVideo[]): z.output<typeof answeredVideos> =>
  videos.map(({ seconds, frames, fetchMs, decodeMs, ...video }) => ({
    ...video,
    seconds: inMs(seconds),
    frames: frames.map(({ time, encodeMs, ...frame }) => ({
      ...frame,
      time: inMs(time),
      encode_ms: rounded(encodeMs),
    })),
    fetch_ms: rounded(fetchMs),
    decode_ms: rounded(decodeMs),
  }))

export const audioOf = (audio: readonly AnsweredAudio[]): z.output<typeof answeredAudio> =>
  audio.map(({ seconds, fetchMs, decodeMs, encodeMs, ...one }) => ({
    ...one,
    seconds: inMs(seconds),
    fetch_ms: rounded(fetchMs),
    decode_ms: rounded(decodeMs),
    encode_ms: rounded(encodeMs),
  }))

/** Seconds with three digits. */
const inMs = (seconds: number): number => Number(seconds.toFixed(3))
