import { OrielError } from '../../errors.ts'

/**
 * The pages that a request means.
 * @param wanted `"1-3,7"`, `"all"`, or how many, taken evenly from first to last
 * @param noun what this file has several of, for errors
 * @returns indices, counted from 0, in the order in which they were named
 * @throws OrielError `invalid`: not understood, out of the file, or more than `most`
 */
export function choosePages(wanted: string | number, count: number, most: number, noun: 'page' | 'frame'): number[] {
  if (typeof wanted === 'number') return spread(wanted, count, most, noun)
  const text = wanted.trim()
  const ranges: [first: number, last: number][] =
    text === 'all' ? [[1, count]] : text.split(',').map((part) => range(part, count, noun))
  const chosen = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  if (chosen > most) throw tooMany(chosen, count, most, noun)
  return ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first - 1 + i))
}

function spread(wanted: number, count: number, most: number, noun: string): number[] {
  if (!Number.isInteger(wanted) || wanted < 1) throw invalid(`${wanted} is not a whole number of ${noun}s`)
  const taken = Math.min(wanted, count)
  if (taken > most) throw tooMany(taken, count, most, noun)
  if (taken === 1) return [0]
  return Array.from({ length: taken }, (_, i) => Math.round((i * (count - 1)) / (taken - 1)))
}

function range(part: string, count: number, noun: string): [number, number] {
  const match = /^\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?$/.exec(part)
  if (match === null) throw invalid(`${JSON.stringify(part.slice(0, 40))} is not understood`)
  const first = Number(match[1])
  const last = Number(match[2] ?? match[1])
  if (first < 1 || last < first) throw invalid(`${part.trim()} is no range: ${noun}s are counted from 1`)
  if (last > count) throw invalid(`${noun} ${last} is asked for, and the file has ${count}`)
  return [first, last]
}

const invalid = (why: string): OrielError =>
  new OrielError('invalid', `The choice of pages is wrong: ${why}. It should look like "1-3,7", "all" or 8.`, {
    code: 'invalid_pages',
  })

const tooMany = (chosen: number, count: number, most: number, noun: string): OrielError =>
  new OrielError(
    'invalid',
    `The file has ${count} ${noun}s, of which ${chosen} would be read, and ${most} pictures are allowed here. Choose some with the extension "${noun}s" beside the URL: "${noun}s": "1-${most}".`,
    { code: 'too_many_images' },
  )
