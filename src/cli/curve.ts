/** Heights of a column within a line, in eighths. */
const eighths = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

/**
 * A curve of values, above 0. When there are more values than columns, each column is the mean of several neighbours.
 * @param values each at least 0, from the left to the right
 * @param columns of the terminal
 */
export function curve(values: readonly number[], columns: number, lines = 6): string {
  if (values.length === 0) return ''
  const most = values.reduce((most, value) => Math.max(most, value), Number.MIN_VALUE)
  const top = most.toPrecision(3)
  const width = Math.min(values.length, Math.max(8, columns - top.length - 3))
  const means = Array.from({ length: width }, (_, at) => {
    const from = Math.floor((at * values.length) / width)
    const some = values.slice(from, Math.floor(((at + 1) * values.length) / width))
    return sumOf(some) / some.length
  })
  const cell = (value: number, line: number): string => {
    // What is not 0 can be seen.
    const height = value === 0 ? 0 : Math.max(1, Math.round((value / most) * lines * 8))
    return eighths[Math.max(0, Math.min(8, height - line * 8))] ?? ''
  }
  const rows = Array.from({ length: lines }, (_, at) => {
    const line = lines - 1 - at
    const scale = at === 0 ? top : line === 0 ? '0' : ''
    return `${scale.padStart(top.length)} │${means.map((value) => cell(value, line)).join('')}`.trimEnd()
  })
  return `${rows.join('\n')}\n`
}
