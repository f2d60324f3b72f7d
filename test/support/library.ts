import { audioFamilies, imageFamilies } from '../../src/encoders/index.ts'
import { loadConfig } from '../../src/load-config.ts'
import { createLibrary, type Library } from '../../src/models/index.ts'

/** The library with these environment variables and no others, and with every family that can be run. */
export const libraryWith = (env: NodeJS.ProcessEnv = {}): Library =>
  createLibrary(loadConfig({}, { HF_HOME: '/nonexistent', ORIEL_MODELS_DIR: '/nonexistent', ...env }).models, {
    images: imageFamilies,
    audio: audioFamilies,
  })
