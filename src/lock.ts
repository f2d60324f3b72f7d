import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeFolder } from './make-folder.ts'

/** The interval at which the holder refreshes a lock, and the age at which a lock expires, in ms. */
const beat = 5_000
const dead = 30_000
const look = 250

/**
 * Runs `work` under a lock, on this machine and on others that share the disk. A lock whose holder has ended is taken over.
 * @param onWait called once if another process holds the lock
 */
export async function withLock<T>(
  file: string,
  signal: AbortSignal,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  await makeFolder(path.dirname(file))
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), since: Date.now() })
  for (let waited = false; !(await take(file, mine)); waited = true) {
    if (!waited) onWait()
    signal.throwIfAborted()
    await sleep(look)
    await dropDead(file)
  }
  const beating = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => {}), beat)
  try {
    return await work()
  } finally {
    clearInterval(beating)
    // The lock may have been taken over while this machine slept.
    if ((await readFile(file, 'utf8').catch(() => null)) === mine) await rm(file, { force: true })
  }
}

/** Whether a process works under this lock. */
export const isHeld = async (file: string): Promise<boolean> =>
  (await stat(file).catch(() => null)) !== null && !(await isDead(file))

/** Whether the file was created, and did not exist before. */
async function take(file: string, text: string): Promise<boolean> {
  try {
    await writeFile(file, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** Removes a lock whose holder has ended. One process at a time does so and checks again: it may have a new holder. */
async function dropDead(file: string): Promise<void> {
  if (!(await isDead(file))) return
  const dropping = `${file}.dropping`
  if (!(await take(dropping, ''))) {
    if (await isSilent(dropping)) await rm(dropping, { force: true })
    return
  }
  try {
    if (await isDead(file)) await rm(file, { force: true })
  } finally {
    await rm(dropping, { force: true })
  }
}

async function isDead(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => null)
  return text !== null && (isGone(text) || (await isSilent(file)))
}

const isSilent = (file: string): Promise<boolean> =>
  stat(file).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > dead,
    () => false,
  )

/** Whether the holder was a process of this machine that has ended. */
function isGone(text: string): boolean {
  const [, pid, host] = /^\{"pid":(\d+),"host":"([^"]*)"/.exec(text) ?? []
  if (pid === undefined || host !== hostname()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}
