import type { Config, OrielSettings } from '../config.ts'
import { memoryBudget } from '../deployments/index.ts'
import { audioFamilies, imageFamilies } from '../encoders/index.ts'
import { chooseDevice, gpuMemory } from '../engine/index.ts'
import { configOf } from '../load-config.ts'
import { createLogger } from '../log.ts'
import { type Estimates, estimatesFor } from '../machine/index.ts'
import { createLibrary, type Library } from '../models/index.ts'

/** Flags that several commands have. */
export interface Flags {
  mmproj?: string
  modelsDir?: string[]
  gpu?: NonNullable<OrielSettings['engine']>['gpu']
}

/** The library of a command, with its flag --models-dir. @throws OrielError `invalid` as `configOf` does */
export const libraryOf = ({ modelsDir: dirs }: Flags): Library => libraryIn(configOf({ models: { dirs } }))

/** The library of a configuration. */
export const libraryIn = ({ models }: Pick<Config, 'models'>): Library =>
  createLibrary(models, { images: imageFamilies, audio: audioFamilies })

/** What this machine can do with models, if no other program takes its memory. @throws OrielError as `chooseDevice` does */
export async function estimatesHere(library: Library): Promise<Estimates> {
  const { engine, loading, media } = configOf({})
  const compute = await chooseDevice(engine.gpu, createLogger('silent'))
  const memory = memoryBudget(loading, gpuMemory(compute))
  return estimatesFor(library, {
    engine: { ...engine, maxSamples: media.maxSamples },
    memory,
    gpu: compute.device !== 'cpu',
  })
}
