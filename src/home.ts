import { homedir } from 'node:os'
import path from 'node:path'

/** The person's folder. A user whom the machine does not know has none; containers call it the root then, as is done here. */
export function home(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

/** Oriel's folder for what can be found out again. It may be deleted at any time. */
export const cacheFolder = (): string => path.join(process.env.XDG_CACHE_HOME || path.join(home(), '.cache'), 'oriel')

/** The folder of the image encoders' weights in the form in which they are computed with. */
export const weightsFolder = (): string => path.join(cacheFolder(), 'weights')
