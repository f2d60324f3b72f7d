import { readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig, type ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { type ModelCard, type ModelFiles, readCard } from './card.ts'
import { catalogueNames, entryOf, entryOfRepo } from './catalogue.ts'
import { decodersOf, isVisionName, type NamedDecoder, type NamedFile, projectorFor, splitOf } from './file-names.ts'
import { type CachedRepo, cachedRepos, cacheFolder } from './hub/cache.ts'

/** A model that lies here, and where it comes from. Its files have not been looked into. */
export interface LocalModel extends ModelFiles {
  origin:
    | { kind: 'built-in' }
    | { kind: 'folder'; files: readonly string[] }
    | { kind: 'hub'; repo: string; paths: readonly string[]; projectorPath: string | null }
}

const builtInFolder = fileURLToPath(new URL('../../models/', import.meta.url))

/**
 * Finds a model by one of its names or by the path of a GGUF file. Beside a file `name.gguf`, a vision file
 * `mmproj*.gguf` of the same folder is taken with it.
 * @param projector the vision file, where it is not to be looked for
 * @throws OrielError `not_found` with the names there are, `invalid` for files that are broken or are no model
 */
export async function findModel(
  name: string,
  projector?: string,
  config: ModelsConfig = loadConfig().models,
): Promise<ModelCard> {
  const vision = projector === undefined ? undefined : path.resolve(projector)
  if (name.endsWith('.gguf')) {
    const decoder = path.resolve(name)
    const { stem } = splitOf(path.basename(decoder))
    return readCard({ id: stem, aliases: namesOf(stem), decoder, projector: vision ?? (await besideOf(decoder)) })
  }
  const model = await findLocal(name, config)
  return readCard({ ...model, projector: vision ?? model.projector })
}

/** Every model that lies here, and those whose files cannot be served. */
export async function listModels(
  config: ModelsConfig = loadConfig().models,
): Promise<{ models: ModelCard[]; broken: { id: string; error: OrielError }[] }> {
  const models: ModelCard[] = []
  const broken: { id: string; error: OrielError }[] = []
  for (const model of await localModels(config))
    try {
      models.push(await readCard(model))
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      broken.push({ id: model.id, error })
    }
  return { models, broken }
}

/**
 * A model that lies here, by one of its names: paths are none, so that a request reaches no other files.
 * @returns undefined where there is none
 * @throws OrielError as `findModel` does, for its files
 */
export async function lookUp(name: string, config: ModelsConfig): Promise<ModelCard | undefined> {
  const found = among(await localModels(config), name)
  return found && readCard(found)
}

/** @throws OrielError `not_found` with the names there are */
export async function findLocal(name: string, config: ModelsConfig): Promise<LocalModel> {
  const models = await localModels(config)
  const found = among(models, name)
  if (found !== undefined) return found
  const entry = entryOf(name)
  throw new OrielError(
    'not_found',
    entry === undefined
      ? `There is no model ${name}. There are: ${models.map(({ id }) => id).join(', ')}; or give the path of a GGUF file.`
      : `${entry.title} is not here yet: \`oriel pull ${entry.id}\` fetches it.`,
    { code: 'model_not_found' },
  )
}

const among = (models: readonly LocalModel[], name: string): LocalModel | undefined =>
  models.find(({ id }) => id === name) ?? models.find(({ aliases }) => aliases.includes(name))

/** Every model that lies here: the built-in ones, those of the folders of GGUF files, those of the hub's cache. */
export async function localModels(config: ModelsConfig): Promise<LocalModel[]> {
  const folders = await Promise.all([builtIn(), ...foldersOf(config).map(inFolder)])
  const repos = await cachedRepos(cacheFolder(config))
  return [...folders.flat(), ...repos.flatMap(inRepo)]
}

/** Where models are put that come from no hub. */
export const ownFolder = (config: ModelsConfig): string => foldersOf(config)[0] ?? ''

/** What a model of the hub is called here. */
export const idInRepo = (repo: string, { quant, stem }: NamedDecoder<NamedFile>): string => `${repo}:${quant || stem}`

/** Where GGUF files are looked for, beside the built-in ones. */
export const foldersOf = ({ dirs }: ModelsConfig): string[] =>
  (dirs.length > 0 ? dirs : [path.join(homedir(), '.oriel', 'models')]).map((folder) => path.resolve(folder))

async function builtIn(): Promise<LocalModel[]> {
  return (await inFolder(builtInFolder)).map((model) => ({ ...model, origin: { kind: 'built-in' } }))
}

/** A folder's own GGUF files, and each of its folders as one model of that name, as llama.cpp's `--models-dir` has it. */
async function inFolder(folder: string): Promise<LocalModel[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const own = modelsAmong(
    folder,
    entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name),
  )
  const below = await Promise.all(
    entries
      .filter((entry) => entry.isDirectory())
      .map(async ({ name }) => {
        const models = modelsAmong(
          path.join(folder, name),
          await readdir(path.join(folder, name)).catch((): string[] => []),
        )
        const [first] = models
        if (models.length === 1 && first !== undefined) return [{ ...first, id: name, aliases: namesOf(name) }]
        return models.map((model) => ({ ...model, id: `${name}/${model.id}`, aliases: namesOf(`${name}/${model.id}`) }))
      }),
  )
  return [...own, ...below.flat()]
}

function modelsAmong(folder: string, names: readonly string[]): LocalModel[] {
  const files = names.map((name) => ({ path: name }))
  return decodersOf(files).flatMap(({ stem, files: parts }) => {
    const [decoder] = parts
    if (decoder === undefined) return []
    const vision = projectorFor(files, stem)
    const paths = [...parts, vision].flatMap((file) => (file === undefined ? [] : [path.join(folder, file.path)]))
    return {
      id: stem,
      aliases: namesOf(stem),
      decoder: path.join(folder, decoder.path),
      projector: vision === undefined ? null : path.join(folder, vision.path),
      origin: { kind: 'folder', files: paths },
    }
  })
}

/** Each quantization is a model of its own; the one that is preferred goes by the repository's name, too. */
function inRepo({ repo, snapshots }: CachedRepo): LocalModel[] {
  const found = new Map<string, LocalModel>()
  for (const { files } of snapshots)
    for (const named of decodersOf(files)) {
      const { stem, files: parts } = named
      const [decoder] = parts
      if (decoder === undefined || found.has(stem)) continue
      const vision =
        projectorFor(files, stem) ??
        projectorFor(
          snapshots.flatMap((other) => other.files),
          stem,
        )
      found.set(stem, {
        id: idInRepo(repo, named),
        aliases: [],
        decoder: decoder.file,
        projector: vision?.file ?? null,
        origin: {
          kind: 'hub',
          repo,
          paths: parts.map((part) => part.path),
          projectorPath: vision?.path ?? null,
        },
      })
    }
  const entry = entryOfRepo(repo)
  return [...found.values()].map((model, at) =>
    at > 0 ? model : { ...model, aliases: [repo, ...(entry === undefined ? [] : catalogueNames(entry))] },
  )
}

/** The vision file beside a decoder that was named by its path. @throws OrielError `invalid` where there are several */
async function besideOf(decoder: string): Promise<string | null> {
  const folder = path.dirname(decoder)
  const names = await readdir(folder).catch((): string[] => [])
  // Without the decoder there is nothing to choose for; its reader says so.
  if (!names.includes(path.basename(decoder))) return null
  const files = names.filter(isVisionName).map((name) => ({ path: name }))
  const { stem } = splitOf(path.basename(decoder))
  const found = projectorFor(files, stem)
  const own = found?.path.toLowerCase().includes(stem.toLowerCase())
  if (files.length > 1 && !own)
    throw new OrielError(
      'invalid',
      `Beside the model there are several vision files (${files.map((file) => file.path).join(', ')}): name one with --mmproj.`,
    )
  return found === undefined ? null : path.join(folder, found.path)
}

const namesOf = (id: string): string[] => [`accounts/oriel/models/${id}`, `oriel/${id}`]
