import { z } from 'zod'
import { type Config, loadConfig, variableOf } from '../config.ts'
import { imageFamilies } from '../encoders/index.ts'
import type { Compute } from '../engine/devices.ts'
import { OrielError } from '../errors.ts'
import { createLibrary, type Library, type ModelCard } from '../models/index.ts'

/** The configuration with the flags of a command. @throws OrielError `invalid` that names each wrong setting */
export function configOf(flags: Parameters<typeof loadConfig>[0]): Config {
  try {
    return loadConfig(flags)
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const wrong = error.issues
      .map(({ path, message }) => `${variableOf(path) ?? path.join('.')}: ${message}`)
      .join('; ')
    throw new OrielError('invalid', `A setting is not allowed. ${wrong}.`)
  }
}

/** Of the flag `--models-dir`. */
export const placesOf = (modelsDir: string | undefined): Parameters<typeof loadConfig>[0] =>
  modelsDir === undefined ? {} : { models: { dirs: [modelsDir] } }

export const libraryOf = ({ models }: Config): Library => createLibrary(models, imageFamilies)

/** The models that the settings name. @throws OrielError as `Library.find` does */
export async function cardsOf(library: Library, config: Config, mmproj: string | undefined): Promise<ModelCard[]> {
  if (mmproj !== undefined && config.model.length > 1)
    throw new OrielError('invalid', '--mmproj is the vision file of one model, and several are named.')
  return Promise.all([...new Set(config.model)].map((name) => library.find(name, mmproj)))
}

/** Bytes that GPUs have beside the machine's memory; undefined where no GPU is used. */
export const ownMemory = ({ device, gpus }: Compute): number | undefined =>
  device === 'cpu'
    ? undefined
    : gpus.reduce((sum, { integrated, freeMemory }) => sum + (integrated ? 0 : freeMemory), 0)
