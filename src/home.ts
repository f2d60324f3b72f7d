import { createHash } from 'node:crypto'
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

/** The folder of the database of accounts, and of what belongs to accounts. @param given the setting; null: `~/.oriel` */
export const dataFolder = (given: string | null): string => path.resolve(given ?? path.join(home(), '.oriel'))

/**
 * A folder in the data folder for what a database has the records of. Servers with other databases may have the same data
 * folder, so one that is not in it has folders of its own.
 */
export function folderOfDatabase(
  { dataDir, databaseUrl }: { dataDir: string | null; databaseUrl: string | null },
  name: string,
): string {
  const folder = path.join(dataFolder(dataDir), name)
  if (databaseUrl === null) return folder
  const { host, pathname } = new URL(databaseUrl)
  return `${folder}-${createHash('sha256').update(`${host}${pathname}`).digest('hex').slice(0, 8)}`
}
