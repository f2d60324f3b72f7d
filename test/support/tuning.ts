import { fileURLToPath } from 'node:url'

/** The command of `fake-trainer.js`. One that `waits` takes three steps, and the next when it is started again. */
export const fakeTrainer = (
  behaviour: 'works' | 'slow' | 'waits' | 'strays' | 'refuses' | 'crashes' | 'misfits' | 'early' = 'works',
): string[] => [process.execPath, fileURLToPath(new URL('fake-trainer.js', import.meta.url)), '{folder}', behaviour]
