import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import type { ModelsConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { home } from '../../home.ts'
import { isHeld } from '../../lock.ts'
import { makeFolder } from '../../make-folder.ts'

/**
 * The cache that all of Hugging Face's libraries share: https://huggingface.co/docs/hub/local-cache
 * `blobs` has the files under their hashes, `snapshots/COMMIT` links with their names, and `refs/main` names a commit.
 */
export interface CachedRepo {
  /** `owner/name` */
  repo: string
  /** Its files by commit: first the commit of `main`, then the others, the newest first. */
  snapshots: readonly { commit: string; folder: string; files: readonly CachedFile[] }[]
}

interface CachedFile {
  /** In the repository, with forward slashes. */
  path: string
  /** On this machine. */
  file: string
}

export const cacheFolder = ({ hub }: ModelsConfig): string =>
  hub.cache ??
  path.join(hub.home ?? path.join(process.env.XDG_CACHE_HOME || path.join(home(), '.cache'), 'huggingface'), 'hub')

/** The folders of a repository in a cache. */
export function placesOf(cache: string, repo: string) {
  const name = `models--${repo.replaceAll('/', '--')}`
  const folder = path.join(cache, name)
  return {
    folder,
    blobs: path.join(folder, 'blobs'),
    snapshots: path.join(folder, 'snapshots'),
    refs: path.join(folder, 'refs'),
    locks: path.join(cache, '.locks', name),
  }
}

/** Every repository of models in a cache. A folder that cannot be read counts as empty. */
export async function cachedRepos(cache: string): Promise<CachedRepo[]> {
  const names = (await namesIn(cache)).filter((name) => name.startsWith('models--')).sort()
  return Promise.all(names.map((name) => cachedRepo(cache, name.slice('models--'.length).replaceAll('--', '/'))))
}

async function cachedRepo(cache: string, repo: string): Promise<CachedRepo> {
  const { snapshots, refs } = placesOf(cache, repo)
  const main = await fs.readFile(path.join(refs, 'main'), 'utf8').catch(() => '')
  const found = await Promise.all(
    (await namesIn(snapshots)).map(async (commit) => {
      const folder = path.join(snapshots, commit)
      // It may be a dangling link, or be removed at the same time.
      const [files, { mtimeMs }] = await Promise.all([
        filesBelow(folder),
        fs.stat(folder).catch(() => ({ mtimeMs: 0 })),
      ])
      return { commit, folder, files, age: commit === main.trim() ? Number.POSITIVE_INFINITY : mtimeMs }
    }),
  )
  return { repo, snapshots: found.toSorted((a, b) => b.age - a.age) }
}

/** Adds a blob to a snapshot under a name. @returns the path of the link */
export async function addToSnapshot(
  cache: string,
  repo: string,
  { commit, file, blob }: { commit: string; file: string; blob: string },
): Promise<string> {
  const places = placesOf(cache, repo)
  const pointer = path.join(places.snapshots, commit, ...file.split('/'))
  const target = path.join(places.blobs, blob)
  // Created under another name and renamed: another pull may do the same, and a server may look for the model.
  const made = path.join(places.folder, `${randomUUID()}.oriel`)
  await makeFolder(path.dirname(pointer))
  // On Windows only administrators may create symbolic links.
  await fs.symlink(path.relative(path.dirname(pointer), target), made).catch(() => fs.link(target, made))
  await fs.rename(made, pointer)
  // If both are links to one file already, nothing was renamed.
  await fs.rm(made, { force: true })
  return pointer
}

export async function setRef(cache: string, repo: string, revision: string, commit: string): Promise<void> {
  const file = path.join(placesOf(cache, repo).refs, ...revision.split('/'))
  await makeFolder(path.dirname(file))
  await fs.writeFile(file, commit)
}

/**
 * Removes files from all snapshots of a repository, and their blobs unless another file uses them.
 * @param paths in the repository
 * @returns the bytes that were freed
 * @throws OrielError `precondition_failed` while a file of the repository is downloaded
 */
export async function removeFiles(cache: string, repo: string, paths: ReadonlySet<string>): Promise<number> {
  const places = placesOf(cache, repo)
  for (const lock of await namesIn(places.locks))
    if (lock.endsWith('.oriel.lock') && (await isHeld(path.join(places.locks, lock)))) throw beingPulled(repo)
  const { snapshots } = await cachedRepo(cache, repo)
  const files = snapshots.flatMap((snapshot) => snapshot.files)
  const blobs = new Map(await Promise.all(files.map(async ({ file }) => [file, await blobOf(file)] as const)))
  const own = await real(places.blobs)
  const kept = new Set(files.filter((file) => !paths.has(file.path)).map(({ file }) => blobs.get(file)))
  let freed = 0
  for (const { file } of files.filter((file) => paths.has(file.path))) {
    const blob = blobs.get(file) ?? file
    const { size } = await fs.stat(file).catch(() => ({ size: 0 }))
    await fs.unlink(file)
    // A link to elsewhere is a person's own.
    if (kept.has(blob) || (blob !== file && (await real(path.dirname(blob))) !== own)) continue
    await fs.rm(blob, { force: true })
    freed += size
  }
  for (const { folder } of snapshots) await removeEmpty(folder)
  if ((await namesIn(places.snapshots)).length === 0) {
    await fs.rm(places.folder, { recursive: true })
    await fs.rm(places.locks, { recursive: true, force: true })
  }
  return freed
}

const real = (folder: string): Promise<string> => fs.realpath(folder).catch(() => path.resolve(folder))

/** The blob that a snapshot's file links to; the file itself if it is not a link. */
const blobOf = async (file: string): Promise<string> =>
  path.resolve(path.dirname(file), await fs.readlink(file).catch(() => path.resolve(file)))

async function filesBelow(folder: string): Promise<CachedFile[]> {
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name))
  // A dangling link is not a file.
  const present = await Promise.all(files.map((file) => fs.stat(file).catch(() => null)))
  return files
    .filter((_, at) => present[at] !== null)
    .map((file) => ({ file, path: path.relative(folder, file).replaceAll('\\', '/') }))
}

async function removeEmpty(folder: string): Promise<void> {
  for (const entry of await fs.readdir(folder, { withFileTypes: true }).catch(() => []))
    if (entry.isDirectory()) await removeEmpty(path.join(folder, entry.name))
  await fs.rmdir(folder).catch(() => {})
}

/** The download shares files with what would be removed, or will. */
const beingPulled = (repo: string): OrielError =>
  new OrielError('precondition_failed', `${repo} is being pulled. Wait for the end of the pull, or cancel it.`, {
    param: 'model',
    code: 'model_being_pulled',
  })

const namesIn = (folder: string): Promise<string[]> => fs.readdir(folder).catch(() => [])
