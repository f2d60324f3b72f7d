import { fileURLToPath } from 'node:url'

/** The command of `fake-trainer.js`. */
export const fakeTrainer = (
  behaviour: 'works' | 'slow' | 'strays' | 'refuses' | 'crashes' | 'misfits' | 'early' = 'works',
): string[] => [process.execPath, fileURLToPath(new URL('fake-trainer.js', import.meta.url)), '{folder}', behaviour]
