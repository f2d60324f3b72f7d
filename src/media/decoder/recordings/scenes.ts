import type { Recording } from './recording.ts'
import { atChanges, evenTimes } from './times.ts'

/** Frames that are compared, for each one that is chosen, and the most of them in a second. */
const candidates = { each: 4, perSecond: 4 }
/** Frames are compared at this size: a change of a detail is no other scene. */
const size = { width: 32, height: 18 }

/** The times at which scenes begin, as far as a look at some frames a second tells. */
export async function sceneTimes(
  recording: Recording,
  { start, end }: { start: number; end: number },
  count: number,
): Promise<number[]> {
  const perSecond = Math.min(candidates.perSecond, recording.perSecond ?? Number.POSITIVE_INFINITY)
  const times = evenTimes(start, end - start, perSecond, Math.max(count, candidates.each * count))
  if (times.length <= count) return evenTimes(start, end - start, Number.POSITIVE_INFINITY, count)
  const changes: number[] = []
  let before: Uint8Array | undefined
  for await (const rgb of recording.frames(times, size)) {
    changes.push(before === undefined ? 0 : difference(before, rgb))
    before = rgb
  }
  return atChanges(changes, count).map((index) => times[index] ?? start)
}

/** The mean difference of two pictures of equal size, from 0 to 1. */
function difference(a: Uint8Array, b: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < a.length; at++) sum += Math.abs((a[at] ?? 0) - (b[at] ?? 0))
  return sum / a.length / 255
}
