import { rm, rmdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { ModelsConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { splitParts } from './file-names.ts'
import { cacheFolder, removeFiles } from './hub/cache.ts'
import { besides } from './hub/download.ts'
import { findLocal, foldersOf, type LocalModel, localModels } from './local.ts'

/** The removal of a model, ready to be confirmed. */
export interface Removal {
  id: string
  /** The path of its decoder. */
  decoder: string
  /** The files that are removed, for the person who confirms. */
  files: readonly string[]
  /** Of the files. */
  bytes: number
  /** @returns the bytes that were freed @throws OrielError `precondition_failed` while it is pulled */
  remove(): Promise<number>
}

/** See `Library.removal`. */
export async function removalOf(name: string, config: ModelsConfig): Promise<Removal> {
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
  if (!foldersOf(config).includes(folder)) await rmdir(folder).catch(() => {})
  return freed
}
