import { stat } from 'node:fs/promises'
import type { ModelsConfig } from '../config.ts'
import type { OrielError } from '../errors.ts'
import { adapterFiles, withoutAdapters } from './adapter-files.ts'
import { adaptersOf } from './adapters.ts'
import type { Listing } from './hub/client.ts'
import { localModels } from './local.ts'
import { peftNames } from './peft/plan.ts'

/** An adapter that was pulled. */
export interface PulledAdapter {
  readonly kind: 'adapter'
  readonly id: string
  readonly aliases: readonly string[]
  /** Of its files. */
  readonly bytes: number
  /** The models on this machine that it fits. */
  readonly fits: readonly string[]
  /** Why it cannot be used yet; null if it can. */
  readonly unusable: OrielError | null
}

/** The files of an adapter in the format of PEFT, if a repository has one. */
export function peftAmong({ paths }: Listing): readonly string[] | null {
  const names = [peftNames.config, peftNames.matrices]
  return names.every((name) => paths.includes(name)) ? names : null
}

/** A repository's adapter, if its files are here. */
export async function pulledAdapter(repo: string, config: ModelsConfig): Promise<PulledAdapter | null> {
  const files = (await adapterFiles(config)).find(({ origin }) => origin.kind === 'hub' && origin.repo === repo)
  if (files === undefined) return null
  const { id, aliases, paths } = files
  const sizes = await Promise.all(paths.map(async (file) => (await stat(file)).size))
  const { adapters, broken } = await adaptersOf(config, () => localModels(config).then(withoutAdapters)).list()
  const card = adapters.find((one) => one.id === id)
  const error = broken.find((one) => one.id === id)?.error ?? null
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  return { kind: 'adapter', id, aliases, bytes, fits: card?.fits ?? [], unusable: error }
}
