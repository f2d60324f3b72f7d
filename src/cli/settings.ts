import { configOf, type OrielSettings } from '../config.ts'
import { imageFamilies } from '../encoders/index.ts'
import { createLibrary, type Library } from '../models/index.ts'

/** Flags that several commands have. */
export interface Flags {
  mmproj?: string
  modelsDir?: string[]
  gpu?: NonNullable<OrielSettings['engine']>['gpu']
}

/** The library of a command, with its flag --models-dir. @throws OrielError `invalid` as `configOf` does */
export const libraryOf = ({ modelsDir: dirs }: Flags): Library =>
  createLibrary(configOf({ models: { dirs } }).models, imageFamilies)
