export const countText = (count: number): string =>
  count < 1e9 ? `${(count / 1e6).toFixed(0)} million` : `${(count / 1e9).toFixed(1)} billion`

/** `128,000 tokens` */
export const tokensText = (tokens: number): string => `${tokens.toLocaleString('en')} tokens`

/** An estimate in seconds, with as many digits as it deserves. */
export function aboutText(seconds: number): string {
  if (seconds < 0.1) return 'less than 0.1 s'
  return `about ${seconds < 10 ? `${Number(seconds.toPrecision(1))} s` : durationText(Number(seconds.toPrecision(2)))}`
}

export function durationText(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** `1 key`, `2,000 keys` */
export const countedText = (count: number, noun: string): string =>
  `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`

/** Micro-units as an amount of the currency: `12.50`, or exactly: `0.002070` */
export function moneyText(micros: number): string {
  const digits = micros % 10_000 === 0 ? 2 : 6
  return (micros / 1e6).toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** `2026-11-28`, in UTC. */
export const dayText = (time: number): string => new Date(time).toISOString().slice(0, 10)

/** `2026-11-28 09:30 UTC` */
export const momentText = (time: number): string => `${dayText(time)} ${new Date(time).toISOString().slice(11, 16)} UTC`

/**
 * Aligns cells in columns. Control characters are removed: the texts of model files must not control the terminal.
 * @param figuresFrom the first column of figures, which are aligned at the right
 */
export function table(cells: readonly (readonly string[])[], figuresFrom = Number.POSITIVE_INFINITY): string {
  const rows = cells.map((row) => row.map((cell) => cell.replaceAll(/\p{Cc}/gu, ' ')))
  const widths =
    rows[0]?.map((_, column) => rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0)) ?? []
  const lines = rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return column < figuresFrom ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}
