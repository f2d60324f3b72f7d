import { configOf } from '../app.ts'
import { imageFamilies } from '../encoders/index.ts'
import { createLibrary, type Library } from '../models/index.ts'

/** The library of a command, with its flag --models-dir. @throws OrielError `invalid` as `configOf` does */
export const libraryOf = (modelsDir: string | undefined): Library =>
  createLibrary(configOf({ models: { dirs: modelsDir === undefined ? undefined : [modelsDir] } }).models, imageFamilies)
