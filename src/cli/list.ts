import { catalogue, estimatedBytes, type Library } from '../models/index.ts'
import { advised } from './advice.ts'
import { bytesText, table } from './figures.ts'
import { type Flags, libraryOf } from './settings.ts'

/** `oriel list`: the models of this machine, or those of the catalogue, one in each line. */
export async function list({ catalogue: known, ...flags }: Flags & { catalogue?: boolean }): Promise<void> {
  const library = libraryOf(flags)
  process.stdout.write(table(known ? pullable(library) : await local(library)))
}

async function local(library: Library): Promise<string[][]> {
  const { models, broken } = await library.list()
  const rows = models.map(({ id, title, projector, contextTokens, bytes }) => [
    id,
    title,
    projector === null ? 'text' : 'text, images',
    `${contextTokens} tokens`,
    bytesText(bytes),
  ])
  for (const { id, error } of broken) process.stderr.write(`${id} cannot be served: ${advised(error)}\n`)
  return [['NAME', 'TITLE', 'TAKES', 'CONTEXT', 'SIZE'], ...rows]
}

function pullable(library: Library): string[][] {
  const rows = catalogue.map((entry) => [
    entry.id,
    library.supports(entry.family) ? 'yes' : 'not yet',
    `about ${bytesText(estimatedBytes(entry))}`,
    `${entry.contextTokens} tokens`,
    entry.licence,
    entry.use,
  ])
  return [['NAME', 'RUNS', 'SIZE', 'CONTEXT', 'LICENCE', 'FOR'], ...rows]
}
