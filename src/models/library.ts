import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { OrielError } from '../errors.ts'
import { type MetadataValue, readGgufMetadata } from './gguf.ts'

/** A model that can be served, as far as its files tell without loading it. */
export interface ModelCard {
  id: string
  /** Other names that requests may use for it. */
  aliases: readonly string[]
  title: string
  description: string
  /** The decoder's GGUF. */
  decoder: string
  /** The vision GGUF (mmproj); null for a model that takes no pictures. */
  projector: string | null
  contextTokens: number
  /** Bytes of both files. */
  bytes: number
  /** What its makers recommend for requests that do not say, from the GGUF's `general.sampling.*`. */
  sampling: { temperature?: number; topP?: number; topK?: number; minP?: number }
  /** When the decoder's file was made. Seconds since 1970. */
  created: number
}

const modelsFolder = fileURLToPath(new URL('../../models/', import.meta.url))

/**
 * Finds a model by its id or by the path of a GGUF file. Beside a file `name.gguf`, a vision file `mmproj*.gguf` of the
 * same folder is taken with it.
 * @param projector the vision file, where it is not to be looked for
 * @throws OrielError `not_found` with the names there are, `invalid` for a file that is no model
 */
export async function findModel(name: string, projector?: string): Promise<ModelCard> {
  if (!name.endsWith('.gguf')) {
    const known = await listModels()
    const card = known.find(({ id, aliases }) => id === name || aliases.includes(name))
    if (card !== undefined) return card
    const names = known.map(({ id }) => id).join(', ')
    throw new OrielError(
      'not_found',
      `There is no model ${name}. There are: ${names}; or give the path of a GGUF file.`,
      {
        code: 'model_not_found',
      },
    )
  }
  const decoder = path.resolve(name)
  return readCard(path.basename(decoder, '.gguf'), decoder, projector && path.resolve(projector))
}

/** The models that are here: one folder of `models/` each. */
export async function listModels(): Promise<ModelCard[]> {
  const folders = await readdir(modelsFolder, { withFileTypes: true })
  const ids = folders.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  return Promise.all(
    ids.map((id) =>
      readCard(id, path.join(modelsFolder, id, `${id}.gguf`), path.join(modelsFolder, id, `mmproj-${id}.gguf`)),
    ),
  )
}

/** @param vision the vision file; undefined: the one that lies beside the decoder, if any does */
async function readCard(id: string, decoder: string, vision: string | undefined): Promise<ModelCard> {
  const metadata = await readGgufMetadata(decoder)
  const architecture = textOf(metadata.get('general.architecture'))
  if (architecture === 'clip')
    throw new OrielError('invalid', `${path.basename(decoder)} is a vision file: name the model's own file instead.`, {
      code: 'bad_model',
    })
  const projector = vision ?? (await findProjector(decoder))
  const files = await Promise.all([decoder, projector].filter((file) => file !== null).map((file) => stat(file)))
  return {
    id,
    aliases: [`accounts/oriel/models/${id}`, `oriel/${id}`],
    title: textOf(metadata.get('general.name')) || id,
    description: textOf(metadata.get('general.description')),
    decoder,
    projector,
    contextTokens: Number(metadata.get(`${architecture}.context_length`) ?? 0),
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    sampling: recommended(metadata),
    created: Math.floor((files[0]?.mtimeMs ?? 0) / 1000),
  }
}

function recommended(metadata: ReadonlyMap<string, MetadataValue>): ModelCard['sampling'] {
  const names = { temperature: 'temp', topP: 'top_p', topK: 'top_k', minP: 'min_p' } as const
  const given = Object.entries(names).flatMap(([field, key]) => {
    const value = metadata.get(`general.sampling.${key}`)
    return typeof value === 'number' ? [[field, value] as const] : []
  })
  return Object.fromEntries(given)
}

async function findProjector(decoder: string): Promise<string | null> {
  const folder = path.dirname(decoder)
  const files = await readdir(folder).catch(() => [])
  const found = files.filter((file) => /^mmproj.*\.gguf$/.test(file)).sort()
  if (found.length > 1)
    throw new OrielError(
      'invalid',
      `Beside the model there are several vision files (${found.join(', ')}): name one with --mmproj.`,
    )
  return found[0] === undefined ? null : path.join(folder, found[0])
}

const textOf = (value: MetadataValue | undefined): string => (typeof value === 'string' ? value : '')
