import { OrielError } from '../../errors.ts'
import { cutWhereQuiet, type Media, type Needs, surelyCut } from '../../media/index.ts'
import type { Attachment } from '../ask.ts'
import type { Backend } from '../backend.ts'
import { cacheKeyOf } from './generation.ts'

/** Cuts the audio of requests into pieces. */
export function cutter(media: Media): NonNullable<Backend['cut']> {
  return async ({ attachments, client, settings }, { longest, most }, signal) => {
    const mostSeconds = surelyCut(most, longest)
    const asker = { client, isolation: cacheKeyOf(settings) }
    const admitSound: Needs['admitSound'] = async (_, { seconds }) => {
      if (seconds > mostSeconds) throw tooManyPieces(seconds, mostSeconds)
      return true
    }
    const loaded = await media.load(attachments, asker, { longestEdge: 1, admitSound }, signal)
    const pieces = loaded.map(async (file, index): Promise<Attachment[]> => {
      const attachment = attachments[index]
      if (attachment === undefined || file.kind !== 'audio') throw new Error('something else than audio is to be cut')
      const { detail, param, clip } = attachment
      const stretches = await cutWhereQuiet(file.sound, longest)
      return stretches.map(({ sound, start, end }) => ({
        ...{ kind: 'audio', detail, param, loaded: { ...file, sound } },
        clip: { start: (clip?.start ?? 0) + start, end: (clip?.start ?? 0) + end },
      }))
    })
    return (await Promise.all(pieces)).flat()
  }
}

const tooManyPieces = (seconds: number, most: number): OrielError =>
  new OrielError(
    'too_large',
    `The audio is too long to be cut into pieces: ${Math.round(seconds)} s; at most ${most} s are allowed.`,
    { code: 'audio_too_long' },
  )
