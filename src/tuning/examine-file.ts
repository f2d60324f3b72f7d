import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Logger } from '../log.ts'
import type { ExampleCounts, TrainingConfig } from './contract.ts'
import type { Pack } from './datasets/check.ts'
import type { ExampleLimits } from './datasets/example.ts'
import { writeJobFolder } from './datasets/job-folder.ts'
import { examine, openReader, type ReadingConfig } from './prepare/index.ts'

interface FileToExamine {
  readonly file: string
  readonly limits: ExampleLimits
  /** Of its lines. */
  readonly pack: Pack
  /** How examples are read: by which model, and how many tokens of each. */
  readonly config: ReadingConfig & Pick<TrainingConfig, 'maxTokens'>
  readonly log: Logger
  readonly signal: AbortSignal
  /** Is told the share of all examples that were read, 0 to 1. */
  onShare(share: number): void
}

/**
 * Counts the tokens of a dataset on this machine as a model reads it. Nothing is trained.
 * @throws OrielError that names the line of an example that cannot be read; `cancelled`; as `openReader` does
 */
export async function examineFile({
  file,
  limits,
  pack,
  config,
  log,
  signal,
  onShare,
}: FileToExamine): Promise<ExampleCounts> {
  const folder = await mkdtemp(path.join(tmpdir(), 'oriel-examine-'))
  try {
    const task = { file, examples: 0, evaluation: null, carveOut: null, folder, limits }
    await writeJobFolder(task, { pack, onProgress: () => signal.throwIfAborted() })
    return await examine({ folder, config, signal, onShare, open: () => openReader(config, log, signal) })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
