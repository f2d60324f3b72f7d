import { stat } from 'node:fs/promises'
import { OrielError } from '../errors.ts'
import { type GgufHeader, readHeader } from './header.ts'

const known = new Map<string, { stamp: string; header: Promise<GgufHeader> }>()

/**
 * The header of a GGUF file. A file is read once in each process, and again only after it has changed.
 * @throws OrielError as `readHeader` does
 */
export async function headerOf(file: string): Promise<GgufHeader> {
  const stats = await stat(file).catch(() => undefined)
  const stamp = `${stats?.ino} ${stats?.size} ${stats?.mtimeMs}`
  const found = known.get(file)
  if (found?.stamp === stamp) return found.header
  const header = readHeader(file)
  known.set(file, { stamp, header })
  // A change of permissions does not change the stamp, so only the verdict on the content is kept.
  header.catch((error: unknown) => {
    if (!(error instanceof OrielError && error.kind === 'invalid')) known.delete(file)
  })
  return header
}
