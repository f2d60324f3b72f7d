import { z } from 'zod'
import { type Config, loadConfig } from '../config.ts'
import { OrielError } from '../errors.ts'

/** The configuration with the flags of a command. @throws OrielError `invalid` that names each wrong setting */
export function configOf(flags: Parameters<typeof loadConfig>[0]): Config {
  try {
    return loadConfig(flags)
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const wrong = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
    throw new OrielError('invalid', `A setting is not allowed. ${wrong}.`)
  }
}

/** Of the flag `--models-dir`. */
export const placesOf = (modelsDir: string | undefined): Parameters<typeof loadConfig>[0] =>
  modelsDir === undefined ? {} : { models: { dirs: [modelsDir] } }
