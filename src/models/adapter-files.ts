import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import type { ModelsConfig } from '../config.ts'
import { badModel } from '../errors.ts'
import { headerOf } from '../gguf/index.ts'
import { parseJson } from '../json.ts'
import { decodersOf, isGguf } from './file-names.ts'
import { type CachedRepo, cachedRepos, cacheFolder } from './hub/cache.ts'
import { adaptersFolder, aliasesOf, foldersOf, type LocalModel } from './local.ts'
import { peftNames } from './peft/plan.ts'

/** An adapter's files on this machine. They have not been read. */
export interface AdapterFiles {
  readonly id: string
  readonly aliases: readonly string[]
  /** Of PEFT the folder; of GGUF the files, of which one may be for the encoder of images. */
  readonly source: { readonly peft: string } | { readonly gguf: readonly string[] }
  /** All of them. */
  readonly paths: readonly string[]
  readonly origin: AdapterOrigin
}

/** Where the files are: in a folder of models, perhaps in a folder of their own, or in the hub's cache. */
type AdapterOrigin =
  | { readonly kind: 'folder'; readonly own: string | null }
  | { readonly kind: 'hub'; readonly repo: string; readonly names: readonly string[] }

/** What whoever put an adapter there says of it: the model that it is for. */
const sidecarSchema = z.object({ base: z.string().min(1).nullish() })

export const sidecarName = 'oriel.json'

/** Every adapter in the folders of models and in the hub's cache. Of several with one id only the first, which is the one that requests reach. */
export async function adapterFiles(config: ModelsConfig): Promise<AdapterFiles[]> {
  const found = await Promise.all(foldersOf(config).map((folder) => adaptersIn(path.join(folder, adaptersFolder))))
  const repos = await cachedRepos(cacheFolder(config))
  const own = found.flat()
  const pulled = (await Promise.all(repos.map(inRepo))).flat()
  const ids = [...own, ...pulled].map(({ id }) => id)
  const isShared = (id: string): boolean => ids.indexOf(id) !== ids.lastIndexOf(id)
  const adapters = [...own, ...pulled.map((one) => (isShared(one.id) ? withOwner(one) : one))]
  return adapters.filter(({ id }, at) => adapters.findIndex((other) => other.id === id) === at)
}

async function adaptersIn(folder: string): Promise<AdapterFiles[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const below = entries
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name }) => (isGguf(name) ? fileOf(path.join(folder, name)) : adapterIn(path.join(folder, name), name)))
  return (await Promise.all(below)).filter((found) => found !== null)
}

function fileOf(file: string): AdapterFiles {
  const stem = path.basename(file).slice(0, -'.gguf'.length)
  return { ...namesOf(stem), source: { gguf: [file] }, paths: [file, `${file}.json`], origin: inFolder(null) }
}

/** The adapter whose folder or file this path is. */
export async function adapterAt(place: string): Promise<AdapterFiles | null> {
  const file = path.resolve(place)
  const found = await stat(file).catch(() => undefined)
  if (found?.isFile() && isGguf(file)) return fileOf(file)
  return found?.isDirectory() ? adapterIn(file, path.basename(file)) : null
}

/** The adapter of this name whose files have a folder of their own. */
export async function adapterIn(folder: string, name: string): Promise<AdapterFiles | null> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  // The folder of a training may have folders of checkpoints, which are none of the adapter.
  const inside = entries.filter((one) => !one.isDirectory()).map((one) => one.name)
  const paths = inside.map((one) => path.join(folder, one))
  const gguf = paths.filter(isGguf).sort()
  const isPeft = inside.includes(peftNames.config) || inside.includes(peftNames.matrices)
  if (!isPeft && gguf.length === 0) return null
  return { ...namesOf(name), source: isPeft ? { peft: folder } : { gguf }, paths, origin: inFolder(folder) }
}

/** An adapter of the hub, whose repository's name alone means another one, too. */
const withOwner = (files: AdapterFiles): AdapterFiles =>
  files.origin.kind === 'hub'
    ? { ...files, ...namesOf(files.origin.repo.replace('/', '-')), aliases: [files.origin.repo] }
    : files

const inFolder = (own: string | null): AdapterOrigin => ({ kind: 'folder', own })

/** The newest snapshot that has an adapter. A repository of a model has GGUF files, too, which their headers tell apart. */
async function inRepo({ repo, snapshots }: CachedRepo): Promise<AdapterFiles[]> {
  const name = repo.slice(repo.indexOf('/') + 1)
  for (const { folder, files } of snapshots) {
    const peft = files.filter((one) => one.path === peftNames.config || one.path === peftNames.matrices)
    if (peft.length === 2) return [fromHub(repo, name, { peft: folder }, peft)]
    const gguf = await Promise.all(
      decodersOf(files).map(async (found) => ({ found, isOne: await isAdapter(found.files[0]?.file ?? '') })),
    )
    const adapters = gguf.filter(({ isOne }) => isOne).map(({ found }) => found)
    if (adapters.length > 0)
      return adapters.map(({ stem, files }) =>
        fromHub(repo, adapters.length === 1 ? name : stem, { gguf: files.map(({ file }) => file) }, files),
      )
  }
  return []
}

function fromHub(
  repo: string,
  name: string,
  source: AdapterFiles['source'],
  files: readonly { path: string; file: string }[],
): AdapterFiles {
  const { id, aliases } = namesOf(name)
  const origin = { kind: 'hub', repo, names: files.map((one) => one.path) } as const
  return { id, aliases: [repo, ...aliases], source, paths: files.map(({ file }) => file), origin }
}

/** @param file GGUF; what is wrong with a damaged one, the reader of models says */
const isAdapter = (file: string): Promise<boolean> =>
  headerOf(file).then(
    ({ metadata }) => metadata.get('general.type') === 'adapter',
    () => false,
  )

/** Leaves out what is an adapter: its name does not tell. */
export async function withoutAdapters(models: readonly LocalModel[]): Promise<LocalModel[]> {
  const others = await Promise.all(
    models.map(async (model) => (model.origin.kind === 'hub' && (await isAdapter(model.decoder)) ? [] : [model])),
  )
  return others.flat()
}

/** The id that a file's or a repository's name gives. */
const adapterId = (name: string): string => name.toLowerCase().replace(/[^a-z0-9._-]+/g, '-')

function namesOf(name: string): Pick<AdapterFiles, 'id' | 'aliases'> {
  const id = adapterId(name)
  return { id, aliases: [...(id === name ? [] : [name]), ...aliasesOf(id)] }
}

/** The file beside an adapter that names its base: `oriel.json` in its folder, `NAME.gguf.json` for a single file. */
function sidecarOf({ source, origin }: AdapterFiles): string | null {
  if (origin.kind === 'hub') return null
  return origin.own === null
    ? `${'gguf' in source ? source.gguf[0] : source.peft}.json`
    : path.join(origin.own, sidecarName)
}

/** @throws OrielError `invalid` if it cannot be read */
export async function readSidecar(files: AdapterFiles): Promise<z.output<typeof sidecarSchema>> {
  const file = sidecarOf(files)
  if (file === null) return {}
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null) return {}
  const { data, success } = sidecarSchema.safeParse(parseJson(text))
  if (!success) throw badModel(`${path.basename(file)} is not a JSON object with the base of the adapter.`)
  return data
}

/** Differs when any of its files has been changed or replaced. */
export async function stampOf(files: readonly string[]): Promise<string> {
  const stats = await Promise.all(files.map((file) => stat(file).catch(() => undefined)))
  return stats.map((one) => (one ? `${one.ino} ${one.size} ${one.mtimeMs} ${one.ctimeMs}` : '')).join('\n')
}
