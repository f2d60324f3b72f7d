import type { AudioAttachment } from '../../engine/index.ts'
import type { Loaded, LoadedAudio, Sound } from '../../media/index.ts'
import type { Attachment } from '../ask.ts'
import type { AnsweredAudio } from '../backend.ts'
import { sumOf } from './images.ts'
import type { PromptFile, Told } from './prompt-file.ts'

/** A sound as a piece of a prompt. */
export const audioPiece = (sound: Sound): AudioAttachment => ({
  kind: 'audio',
  samples: sound.samples,
  hash: sound.hash,
  sound,
})

export class PromptAudio implements PromptFile {
  readonly text = '<audio>'
  readonly pieces: readonly AudioAttachment[]
  readonly #file: LoadedAudio
  readonly #source: Attachment

  constructor(file: LoadedAudio, source: Attachment) {
    this.#file = file
    this.#source = source
    this.pieces = [audioPiece(file.sound)]
  }

  tokens(told: readonly Told[]) {
    return { audioTokens: [sumOf(told)] }
  }

  counted(told: readonly Told[]) {
    return { kind: 'audio', tokens: sumOf(told), seconds: this.#file.sound.seconds } as const
  }

  answered(told: readonly Told[]) {
    return { audio: answeredAudio(told, this.#file.sound, this.#file, this.#source) }
  }
}

/** What is told of a sound, which may be that of a video. @param told its piece, if the prompt has it */
export function answeredAudio(
  told: readonly Told[],
  { seconds }: Sound,
  { fetchMs, decodeMs }: Loaded,
  { param }: Attachment,
): AnsweredAudio[] {
  return told.flatMap(({ tokens, work }) => {
    if (work?.kind !== 'audio') return []
    const { kind: _, ...done } = work
    return { param, seconds, tokens, fetchMs, decodeMs, ...done }
  })
}
