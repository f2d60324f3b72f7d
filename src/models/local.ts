import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { home } from '../home.ts'
import { packageFile } from '../places.ts'
import type { ModelFiles } from './card.ts'
import { type CatalogueEntry, catalogueNames, entryOf, entryOfRepo } from './catalogue.ts'
import { decodersOf, isVisionName, type NamedDecoder, type NamedFile, projectorFor, splitOf } from './file-names.ts'
import { type CachedRepo, cachedRepos, cacheFolder } from './hub/cache.ts'

/** A model on this machine, and its origin. Its files have not been read. */
export interface LocalModel extends ModelFiles {
  origin: Origin
}

export type Origin =
  | { kind: 'built-in' }
  | { kind: 'folder'; files: readonly string[] }
  | { kind: 'hub'; repo: string; paths: readonly string[]; projectorPath: string | null }

/** The folder of adapters in a folder of models. */
export const adaptersFolder = 'adapters'

/** The folder of models that are being uploaded in a folder of models. */
export const uploadsFolder = '.uploads'

const builtInFolder = fileURLToPath(packageFile('models/'))

/** A model of the catalogue that has not been downloaded. */
export class NotPulled extends OrielError {
  readonly entry: CatalogueEntry

  constructor(entry: CatalogueEntry) {
    super('not_found', `${entry.title} has not been downloaded.`, { code: 'model_not_found' })
    this.entry = entry
  }
}

/** @throws OrielError `not_found` that names the models; `NotPulled` if the catalogue has the model */
export async function findLocal(name: string, config: ModelsConfig): Promise<LocalModel> {
  const models = await localModels(config)
  const found = named(name, models)
  if (found !== undefined) return found
  const entry = entryOf(name)
  if (entry !== undefined) throw new NotPulled(entry)
  throw new OrielError(
    'not_found',
    `There is no model ${name}. ${models.length === 0 ? 'There are none on this machine.' : `The models are: ${models.map(({ id }) => id).join(', ')}.`}`,
    { code: 'model_not_found' },
  )
}

export const named = <Model extends ModelFiles>(name: string, models: readonly Model[]): Model | undefined =>
  models.find(({ id }) => id === name) ?? models.find(({ aliases }) => aliases.includes(name))

/**
 * Every model on this machine: the built-in ones, those in the folders of GGUF files, those in the hub's cache. Of several with
 * one id only the first, which is the one that requests reach.
 */
export async function localModels(config: ModelsConfig): Promise<LocalModel[]> {
  const folders = await Promise.all([builtIn(), ...foldersOf(config).map(inFolder)])
  const repos = await cachedRepos(cacheFolder(config))
  const models = [...folders.flat(), ...repos.flatMap(inRepo)]
  return models.filter(({ id }, at) => models.findIndex((other) => other.id === id) === at)
}

/** The folder for models that do not come from the hub. */
export const ownFolder = (config: ModelsConfig): string => foldersOf(config)[0] ?? ''

export const idInRepo = (repo: string, { quant, stem }: NamedDecoder<NamedFile>): string => `${repo}:${quant || stem}`

/** The folders that are searched for GGUF files, in addition to the built-in one. */
export const foldersOf = ({ dirs }: ModelsConfig): string[] =>
  (dirs.length > 0 ? dirs : [path.join(home(), '.oriel', 'models')]).map((folder) => path.resolve(folder))

async function builtIn(): Promise<LocalModel[]> {
  return (await inFolder(builtInFolder)).map((model) => ({ ...model, origin: { kind: 'built-in' } }))
}

/** The GGUF files of a folder, and each folder in it as one model of that name, as in llama.cpp's folders of models. */
async function inFolder(folder: string): Promise<LocalModel[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const own = modelsAmong(
    folder,
    entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name),
  )
  const below = await Promise.all(
    entries
      .filter((entry) => entry.isDirectory() && ![adaptersFolder, uploadsFolder].includes(entry.name))
      .map(async ({ name }) => {
        const inside = path.join(folder, name)
        const models = await modelsIn(inside)
        return models.map((model) => {
          const id = models.length === 1 ? name : `${name}/${model.id}`
          return { ...model, id, aliases: aliasesOf(id) }
        })
      }),
  )
  return [...own, ...below.flat()]
}

/** @param folder whose models have files directly in it */
export const modelsIn = async (folder: string): Promise<LocalModel[]> =>
  modelsAmong(folder, await readdir(folder).catch((): string[] => []))

function modelsAmong(folder: string, names: readonly string[]): LocalModel[] {
  const files = names.map((name) => ({ path: name }))
  return decodersOf(files).flatMap(({ stem, files: parts }) => {
    const [decoder] = parts
    if (decoder === undefined) return []
    const vision = projectorFor(files, stem)
    const paths = [...parts, vision].flatMap((file) => (file === undefined ? [] : [path.join(folder, file.path)]))
    return {
      id: stem,
      aliases: aliasesOf(stem),
      decoder: path.join(folder, decoder.path),
      projector: vision === undefined ? null : path.join(folder, vision.path),
      origin: { kind: 'folder', files: paths },
    }
  })
}

/** Each quantization is a separate model. The preferred one also has the repository's name. */
function inRepo({ repo, snapshots }: CachedRepo): LocalModel[] {
  const found = new Map<string, LocalModel>()
  const entry = entryOfRepo(repo)
  const all = snapshots.flatMap(({ files }) => files)
  for (const { files } of snapshots)
    for (const named of decodersOf(files)) {
      const { stem, files: parts } = named
      const [decoder] = parts
      if (decoder === undefined || found.has(stem)) continue
      const vision = projectorFor(files, stem) ?? projectorFor(all, stem)
      found.set(stem, {
        id: idInRepo(repo, named),
        aliases: [],
        decoder: decoder.file,
        projector: vision?.file ?? null,
        entry,
        origin: { kind: 'hub', repo, paths: parts.map((part) => part.path), projectorPath: vision?.path ?? null },
      })
    }
  return [...found.values()].map((model, at) =>
    at > 0 ? model : { ...model, aliases: [repo, ...(entry === undefined ? [] : catalogueNames(entry))] },
  )
}

/** The vision file in the folder of a decoder that was named by its path. @throws OrielError `invalid` if there are several */
export async function visionFileBeside(decoder: string): Promise<string | null> {
  const folder = path.dirname(decoder)
  const names = await readdir(folder).catch((): string[] => [])
  // The reader of the decoder reports that the decoder is missing.
  if (!names.includes(path.basename(decoder))) return null
  const files = names.filter(isVisionName).map((name) => ({ path: name }))
  const { stem } = splitOf(path.basename(decoder))
  const found = projectorFor(files, stem)
  const own = found?.path.toLowerCase().includes(stem.toLowerCase())
  if (files.length > 1 && !own)
    throw new OrielError(
      'invalid',
      `The folder of the model has several vision files: ${files.map((file) => file.path).join(', ')}.`,
      { code: 'several_vision_files' },
    )
  return found === undefined ? null : path.join(folder, found.path)
}

export const aliasesOf = (id: string): string[] => [`accounts/oriel/models/${id}`, `oriel/${id}`]
