/** Heights of a bar within a line, in eighths. */
const eighths = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
const widestBar = 4
const leastSpace = 8

/**
 * Bars beside each other, with a scale. When there is not enough space for all, each bar is the sum of several neighbours.
 * @param values each at least 0, from the left to the right
 * @param columns of the terminal
 * @returns the lines, and how many values each bar has
 */
export function bars(values: readonly number[], columns: number, lines = 6): { text: string; each: number } {
  const spaceBeside = (most: number): number => Math.max(leastSpace, columns - most.toLocaleString('en').length - 2)
  // The scale of sums is at most that of all values together.
  const isWide = values.length <= spaceBeside(Math.max(...values, 1))
  const each = isWide ? 1 : Math.ceil(values.length / spaceBeside(sum(values)))
  const sums = sumsOf(values, each)
  const most = Math.max(...sums, 1)
  const width = Math.max(1, Math.min(widestBar, Math.floor(spaceBeside(most) / sums.length)))
  const gap = width > 1 ? 1 : 0
  const cell = (value: number, line: number): string => {
    // What is not 0 can be seen.
    const height = value === 0 ? 0 : Math.max(1, Math.round((value / most) * lines * 8))
    const filled = Math.max(0, Math.min(8, height - line * 8))
    return (eighths[filled] ?? '').repeat(width - gap) + ' '.repeat(gap)
  }
  const top = most.toLocaleString('en')
  const rows = Array.from({ length: lines }, (_, at) => {
    const line = lines - 1 - at
    const scale = line === lines - 1 ? top : line === 0 ? '0' : ''
    return `${scale.padStart(top.length)} │${sums.map((value) => cell(value, line)).join('')}`.trimEnd()
  })
  return { text: `${rows.join('\n')}\n`, each }
}

/** Sums of neighbours. The last ones are complete. */
function sumsOf(values: readonly number[], each: number): number[] {
  const sums: number[] = []
  for (let end = values.length; end > 0; end -= each) sums.unshift(sum(values.slice(Math.max(0, end - each), end)))
  return sums
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
