import { createReadStream } from 'node:fs'
import { rm, rmdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import type { ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { type AdapterFiles, adapterFiles, withoutAdapters } from './adapter-files.ts'
import { forgetKept } from './adapters.ts'
import { splitParts } from './file-names.ts'
import { cacheFolder, removeFiles } from './hub/cache.ts'
import { besides } from './hub/download.ts'
import { adaptersFolder, findLocal, foldersOf, type LocalModel, localModels, named } from './local.ts'

/** The removal of a model or an adapter, ready to be confirmed. */
export interface Removal {
  id: string
  /** The path of its decoder; null for an adapter. */
  decoder: string | null
  /** The files that are removed, for the person who confirms. */
  files: readonly string[]
  /** Of the files. */
  bytes: number
  /** @returns the bytes that were freed @throws OrielError `precondition_failed` while it is pulled */
  remove(): Promise<number>
}

/** A file of a model or an adapter. */
export interface ModelFile {
  readonly name: string
  readonly bytes: number
  open(): Readable
}

/** See `Library.removal`. */
export async function removalOf(name: string, config: ModelsConfig): Promise<Removal> {
  const adapter = await adapterNamed(name, config)
  if (adapter !== undefined) return adapterRemoval(adapter, config)
  const model = await findLocal(name, config)
  const { id, decoder, origin, projector } = model
  if (origin.kind === 'built-in') throw new OrielError('invalid', `${id} is part of Oriel and cannot be removed.`)
  const shared = await isShared(model, config)
  const own = [...splitParts(decoder), ...(projector === null || shared ? [] : [projector])]
  const sizes = await Promise.all(own.map(async (file) => (await stat(file).catch(() => ({ size: 0 }))).size))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  if (origin.kind === 'folder') {
    const going = origin.files.filter((file) => file !== projector || !shared)
    return { id, decoder, files: going, bytes, remove: () => removeFromFolder(going, config) }
  }
  const { repo, paths, projectorPath } = origin
  const going = projectorPath === null || shared ? paths : [...paths, projectorPath]
  return { id, decoder, files: going, bytes, remove: () => removeFiles(cacheFolder(config), repo, new Set(going)) }
}

/** See `Library.files`. */
export async function filesOf(name: string, config: ModelsConfig): Promise<ModelFile[]> {
  const adapter = await adapterNamed(name, config)
  const paths = adapter?.paths ?? ownFiles(await findLocal(name, config))
  const found = paths.map(async (file): Promise<ModelFile[]> => {
    const { size: bytes } = await stat(file).catch(() => ({ size: -1 }))
    return bytes < 0 ? [] : [{ name: path.basename(file), bytes, open: () => createReadStream(file) }]
  })
  return (await Promise.all(found)).flat()
}

/** The adapter that requests mean by a name: models come first. */
async function adapterNamed(name: string, config: ModelsConfig): Promise<AdapterFiles | undefined> {
  const adapter = (await adapterFiles(config)).find(({ id, aliases }) => id === name || aliases.includes(name))
  const isModel = named(name, await localModels(config).then(withoutAdapters)) !== undefined
  return isModel ? undefined : adapter
}

const ownFiles = ({ decoder, projector }: LocalModel): string[] => [
  ...splitParts(decoder),
  ...(projector === null ? [] : [projector]),
]

async function adapterRemoval({ id, paths, origin }: AdapterFiles, config: ModelsConfig): Promise<Removal> {
  const present = (
    await Promise.all(paths.map(async (file) => ((await stat(file).catch(() => null)) ? [file] : [])))
  ).flat()
  const sizes = await Promise.all(present.map(async (file) => (await stat(file)).size))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const files = origin.kind === 'hub' ? origin.names : present
  const remove = async (): Promise<number> => {
    await forgetKept(id)
    return origin.kind === 'hub'
      ? removeFiles(cacheFolder(config), origin.repo, new Set(origin.names))
      : removeFromFolder(present, config)
  }
  return { id, decoder: null, files, bytes, remove }
}

/** Whether another model needs the same vision file. */
const isShared = async ({ id, projector }: LocalModel, config: ModelsConfig): Promise<boolean> =>
  (await localModels(config)).some((other) => other.id !== id && other.projector === projector)

async function removeFromFolder(files: readonly string[], config: ModelsConfig): Promise<number> {
  let freed = 0
  for (const file of files) {
    freed += (await stat(file)).size
    await rm(file)
    await rm(besides(file).origin, { force: true })
  }
  // An empty folder is removed too, unless it is one that is searched for models.
  const folder = path.dirname(files[0] ?? '')
  const searched = foldersOf(config).flatMap((one) => [one, path.join(one, adaptersFolder)])
  if (!searched.includes(folder)) await rmdir(folder).catch(() => {})
  return freed
}
