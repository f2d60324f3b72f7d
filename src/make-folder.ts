import { mkdir, stat } from 'node:fs/promises'
import path from 'node:path'

/**
 * Makes a folder and those above it. Node's own `recursive` never ends where a file system has no place for a folder and says
 * that its parent is missing, as below `/proc`.
 * @param mode of those that are made @throws Error of the system
 */
export async function makeFolder(folder: string, mode = 0o777): Promise<void> {
  if (await made(folder, mode)) return
  const above = path.dirname(folder)
  if (above !== folder) await makeFolder(above, mode)
  if (!(await made(folder, mode)))
    throw Object.assign(new Error(`${folder} cannot be made.`), { code: 'ENOENT', path: folder })
}

/** @returns false if the folder above it is missing */
async function made(folder: string, mode: number): Promise<boolean> {
  try {
    await mkdir(folder, { mode })
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return false
    // A read-only file system says so of folders that are there, too.
    if ((await stat(folder).catch(() => undefined))?.isDirectory()) return true
    throw error
  }
}
