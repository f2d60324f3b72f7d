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

/** Aligns cells in columns. Control characters are removed: the texts of model files must not control the terminal. */
export function table(cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map((cell) => cell.replaceAll(/\p{Cc}/gu, ' ')))
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}
