import { OrielError } from '../../errors.ts'

/**
 * Resolves the pages or frames that a request selects.
 * @param selection `"1-3,7"`, `"all"`, or a number of pages, spread evenly from first to last
 * @param count pages in the file
 * @param noun what the file consists of, for errors
 * @returns page indices, counted from 0, in the order of the selection
 * @throws OrielError `invalid` for a selection that has a wrong form, exceeds the file, or exceeds `maxPages`
 */
export function selectPages(
  selection: string | number,
  count: number,
  maxPages: number,
  noun: 'page' | 'frame',
): number[] {
  if (typeof selection === 'number') return spread(selection, count, maxPages, noun)
  const text = selection.trim()
  const ranges: [first: number, last: number][] =
    text === 'all' ? [[1, count]] : text.split(',').map((range) => parseRange(range, count, noun))
  const selected = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  if (selected > maxPages) throw tooMany(selected, count, maxPages, noun)
  return ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first - 1 + i))
}

function spread(wanted: number, count: number, maxPages: number, noun: string): number[] {
  if (!Number.isInteger(wanted) || wanted < 1) throw invalid(noun, `${wanted} is not a positive whole number`)
  const selected = Math.min(wanted, count)
  if (selected > maxPages) throw tooMany(selected, count, maxPages, noun)
  if (selected === 1) return [0]
  return Array.from({ length: selected }, (_, i) => Math.round((i * (count - 1)) / (selected - 1)))
}

function parseRange(range: string, count: number, noun: string): [number, number] {
  const match = /^\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?$/.exec(range)
  if (match === null) throw invalid(noun, `${JSON.stringify(range.slice(0, 40))} is not a ${noun} number or a range`)
  const first = Number(match[1])
  const last = Number(match[2] ?? match[1])
  if (first < 1) throw invalid(noun, `${noun}s are numbered from 1, found ${range.trim()}`)
  if (last < first) throw invalid(noun, `the range ${range.trim()} ends before it begins`)
  if (last > count) throw invalid(noun, `${noun} ${last} does not exist, the file has ${count} ${noun}${plural(count)}`)
  return [first, last]
}

const plural = (count: number): string => (count === 1 ? '' : 's')

const invalid = (noun: string, why: string): OrielError =>
  new OrielError('invalid', `The selection of ${noun}s is invalid: ${why}. Valid selections: "1-3,7", "all", 8.`, {
    code: 'invalid_pages',
  })

const tooMany = (selected: number, count: number, maxPages: number, noun: string): OrielError =>
  new OrielError(
    'invalid',
    `The request selects ${selected} of the file's ${count} ${noun}s; at most ${maxPages} image${plural(maxPages)} can be read from this file. Select fewer with the extension "${noun}s" next to the URL, for example "${noun}s": "1-${maxPages}".`,
    { code: 'too_many_images' },
  )
