import { configOf } from '../app.ts'
import type { Config } from '../config.ts'

/** The configuration of a command, with its flag --models-dir. @throws OrielError `invalid` as `configOf` does */
export const modelsConfig = (modelsDir: string | undefined): Config['models'] =>
  configOf({ models: { dirs: modelsDir === undefined ? undefined : [modelsDir] } }).models
