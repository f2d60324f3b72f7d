import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { peftNames } from '../../models/index.ts'
import type { JobFolder } from './folder.ts'

const names = Object.values(peftNames)

/** How deep programs put the last of their checkpoints. */
const deepest = 3

/** The folder in which the trainer has left its adapter. Other programs keep several checkpoints: the newest one counts. */
export const outputOf = ({ output }: JobFolder): Promise<string | undefined> => newestIn(output, 0)

async function newestIn(folder: string, depth: number): Promise<string | undefined> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  if (names.every((name) => entries.some((entry) => entry.name === name))) return folder
  if (depth === deepest) return undefined
  let newest: { folder: string; time: number } | undefined
  for (const entry of entries.filter((one) => one.isDirectory())) {
    const found = await newestIn(path.join(folder, entry.name), depth + 1)
    if (found === undefined) continue
    const time = (await stat(path.join(found, peftNames.matrices))).mtimeMs
    if (newest === undefined || time > newest.time) newest = { folder: found, time }
  }
  return newest?.folder
}
