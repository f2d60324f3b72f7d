import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import type { ModelsConfig } from '../config.ts'
import { badModel } from '../errors.ts'
import { parseJson } from '../json.ts'
import { adaptersFolder, aliasesOf, foldersOf } from './local.ts'
import { peftNames } from './peft/plan.ts'

/** An adapter's files on this machine. They have not been read. */
export interface AdapterFiles {
  readonly id: string
  readonly aliases: readonly string[]
  /** Of PEFT the folder; of GGUF the files, of which one may be for the encoder of images. */
  readonly source: { readonly peft: string } | { readonly gguf: readonly string[] }
  /** All files and the folder of its own, if it has one, for removal. */
  readonly paths: readonly string[]
  readonly folder: string | null
}

/** A model that the adapter is for, and where it came from: written by whoever put the adapter there. */
const sidecarSchema = z.object({ base: z.string().min(1).nullish(), repo: z.string().nullish() })
export type Sidecar = z.output<typeof sidecarSchema>

export const sidecarName = 'oriel.json'

/** Every adapter in the folders of models. Of several with one id only the first, which is the one that requests reach. */
export async function adapterFiles(config: ModelsConfig): Promise<AdapterFiles[]> {
  const found = await Promise.all(foldersOf(config).map((folder) => adaptersIn(path.join(folder, adaptersFolder))))
  const adapters = found.flat()
  return adapters.filter(({ id }, at) => adapters.findIndex((other) => other.id === id) === at)
}

async function adaptersIn(folder: string): Promise<AdapterFiles[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const below = entries
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(async ({ name }): Promise<AdapterFiles[]> => {
      const file = path.join(folder, name)
      if (/\.gguf$/i.test(name)) {
        const stem = name.slice(0, -'.gguf'.length)
        return [{ ...namesOf(stem), source: { gguf: [file] }, paths: [file, `${file}.json`], folder: null }]
      }
      const inside = await readdir(file).catch((): string[] => [])
      const paths = inside.map((one) => path.join(file, one))
      const gguf = paths.filter((one) => /\.gguf$/i.test(one)).sort()
      const isPeft = inside.includes(peftNames.config) || inside.includes(peftNames.matrices)
      if (!isPeft && gguf.length === 0) return []
      return [{ ...namesOf(name), source: isPeft ? { peft: file } : { gguf }, paths, folder: file }]
    })
  return (await Promise.all(below)).flat()
}

/** The id that a file's or a repository's name gives. */
export const adapterId = (name: string): string => name.toLowerCase().replace(/[^a-z0-9._-]+/g, '-')

function namesOf(name: string): Pick<AdapterFiles, 'id' | 'aliases'> {
  const id = adapterId(name)
  return { id, aliases: [...(id === name ? [] : [name]), ...aliasesOf(id)] }
}

/** The file beside an adapter that names its base: `oriel.json` in its folder, `NAME.gguf.json` for a single file. */
const sidecarOf = ({ source, folder }: AdapterFiles): string =>
  folder !== null ? path.join(folder, sidecarName) : `${'gguf' in source ? source.gguf[0] : source.peft}.json`

/** @throws OrielError `invalid` if it cannot be read */
export async function readSidecar(files: AdapterFiles): Promise<Sidecar> {
  const file = sidecarOf(files)
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
