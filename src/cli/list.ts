import { catalogue, estimatedBytes } from '../models/index.ts'
import { advised } from './advice.ts'
import { bytesText, table } from './figures.ts'
import { libraryOf } from './settings.ts'

export interface ListFlags {
  modelsDir?: string
  catalogue?: boolean
}

/** `oriel list`: the models of this machine, or those of the catalogue, one in each line. */
export async function list({ modelsDir, catalogue: known = false }: ListFlags): Promise<void> {
  process.stdout.write(table(known ? pullable(modelsDir) : await local(modelsDir)))
}

async function local(modelsDir: string | undefined): Promise<string[][]> {
  const { models, broken } = await libraryOf(modelsDir).list()
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

function pullable(modelsDir: string | undefined): string[][] {
  const library = libraryOf(modelsDir)
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
