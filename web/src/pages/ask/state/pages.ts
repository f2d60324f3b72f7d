/** The pages of a selection such as `1-3,7`; empty: all. */
export function pagesOf(selection: string, pageCount: number): ReadonlySet<number> {
  const all = Array.from({ length: pageCount }, (_, index) => index + 1)
  if (selection.trim() === '') return new Set(all)
  const ranges = selection.split(',').map((range) => range.split('-').map(Number))
  return new Set(all.filter((page) => ranges.some(([from = 0, to = from]) => page >= from && page <= to)))
}

/** The shortest selection that means these pages. All of them, or none, is the empty one: a document without pages is not sent. */
export function selectionOf(pages: ReadonlySet<number>, pageCount: number): string {
  if (pages.size === pageCount) return ''
  const ranges: [number, number][] = []
  for (const page of [...pages].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === page - 1) last[1] = page
    else ranges.push([page, page])
  }
  return ranges.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(',')
}
