import type { Recording } from './recording.ts'

/**
 * A recording that a second decoder goes on with where the first one throws, so that a fault of the first does not read as
 * damage of the file.
 * @param openSecond returns null if there is no second decoder
 */
export function withSecond(first: Recording, openSecond: () => Promise<Recording | null>): Recording {
  let opening: Promise<Recording | null> | undefined
  /** @throws the first decoder's error if there is no second one, or else the second one's */
  const second = async (error: unknown): Promise<Recording> => {
    opening ??= openSecond()
    const recording = await opening
    if (recording === null) throw error
    return recording
  }
  return {
    ...first,
    async *frames(times, size) {
      let given = 0
      try {
        for await (const frame of first.frames(times, size)) {
          yield frame
          given++
        }
      } catch (error) {
        yield* (await second(error)).frames(times.slice(given), size)
      }
    },
    sound: (start, end) => first.sound(start, end).catch(async (error) => (await second(error)).sound(start, end)),
    close() {
      first.close()
      opening?.then((recording) => recording?.close()).catch(() => {})
    },
  }
}
