import { z } from 'zod'
import { type Config, loadConfig, variableOf } from '../config.ts'
import type { Compute } from '../engine/index.ts'
import { OrielError } from '../errors.ts'
import { findModel, type ModelCard } from '../models/index.ts'

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

/** The models that the settings name. @throws OrielError as `findModel` does */
export async function cardsOf(config: Config, mmproj: string | undefined): Promise<ModelCard[]> {
  if (mmproj !== undefined && config.model.length > 1)
    throw new OrielError('invalid', '--mmproj is the vision file of one model, and several are named.')
  return Promise.all([...new Set(config.model)].map((name) => findModel(name, mmproj, config.models)))
}

/** Bytes that GPUs have beside the machine's memory; undefined where no GPU is used. */
export const ownMemory = ({ device, gpus }: Compute): number | undefined =>
  device === 'cpu'
    ? undefined
    : gpus.reduce((sum, { integrated, freeMemory }) => sum + (integrated ? 0 : freeMemory), 0)
