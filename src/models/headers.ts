import { stat } from 'node:fs/promises'
import { OrielError } from '../errors.ts'
import { type GgufHeader, readGguf } from './gguf.ts'

const known = new Map<string, { stamp: string; header: Promise<GgufHeader> }>()

/** As `readGguf`, which takes a while for a large vocabulary; a file that has not changed since is not read again. */
export async function headerOf(file: string): Promise<GgufHeader> {
  const stats = await stat(file).catch(() => undefined)
  const stamp = `${stats?.ino} ${stats?.size} ${stats?.mtimeMs}`
  const found = known.get(file)
  if (found?.stamp === stamp) return found.header
  const header = readGguf(file)
  known.set(file, { stamp, header })
  // One that cannot be opened may be allowed to be, which leaves no trace in its stamp.
  header.catch((error: unknown) => {
    if (!(error instanceof OrielError && error.kind === 'invalid')) known.delete(file)
  })
  return header
}
