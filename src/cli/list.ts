import { catalogue, estimatedBytes, listModels } from '../models/index.ts'
import { bytesText, table } from './figures.ts'
import { modelsConfig } from './settings.ts'

export interface ListFlags {
  modelsDir?: string
  catalogue?: boolean
}

/** `oriel list`: the models that are here, or those that can be pulled, one a line. */
export async function list({ modelsDir, catalogue: known = false }: ListFlags): Promise<void> {
  process.stdout.write(table(known ? await pullable() : await local(modelsDir)))
}

async function local(modelsDir: string | undefined): Promise<string[][]> {
  const { models, broken } = await listModels(modelsConfig(modelsDir))
  const rows = models.map(({ id, title, projector, contextTokens, bytes }) => [
    id,
    title,
    projector === null ? 'text' : 'text, pictures',
    `${contextTokens} tokens`,
    bytesText(bytes),
  ])
  for (const { id, error } of broken) process.stderr.write(`${id} cannot be served: ${error.message}\n`)
  return [['NAME', 'TITLE', 'TAKES', 'CONTEXT', 'SIZE'], ...rows]
}

async function pullable(): Promise<string[][]> {
  const { visionFamilies } = await import('../vision/index.ts')
  const rows = catalogue.map((entry) => [
    entry.id,
    visionFamilies.includes(entry.family) ? 'yes' : 'not yet',
    `about ${bytesText(estimatedBytes(entry))}`,
    `${entry.contextTokens} tokens`,
    entry.licence,
    entry.use,
  ])
  return [['NAME', 'RUNS', 'SIZE', 'CONTEXT', 'LICENCE', 'FOR'], ...rows]
}
