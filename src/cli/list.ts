import { listModels } from '../models/index.ts'

/** `oriel list`: the models that are here, one a line. */
export async function list(): Promise<void> {
  const rows = (await listModels()).map(({ id, title, projector, contextTokens, bytes }) => [
    id,
    title,
    projector === null ? 'text' : 'text, pictures',
    `${contextTokens} tokens`,
    `${(bytes / 1e6).toFixed(1)} MB`,
  ])
  const table = [['NAME', 'TITLE', 'TAKES', 'CONTEXT', 'SIZE'], ...rows]
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of table)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    )
}
