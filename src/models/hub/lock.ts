import { mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Time between two signs of life of who holds a lock, and how long it may give none. ms */
const beat = 5_000
const dead = 30_000
const look = 250

/**
 * Does `work` while nobody else does under the same lock, on this machine or another that shares the disk. A lock whose
 * holder is gone is taken over.
 * @param onWait is told once, when somebody else holds it
 */
export async function withLock<T>(
  file: string,
  signal: AbortSignal,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(path.dirname(file), { recursive: true })
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
    await rm(file, { force: true })
  }
}

async function take(file: string, mine: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx')
    await handle.writeFile(mine)
    await handle.close()
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** Two who take over the same lock at once both fetch: that costs time, and the blob is the same. */
async function dropDead(file: string): Promise<void> {
  const [text, stats] = await Promise.all([readFile(file, 'utf8').catch(() => null), stat(file).catch(() => null)])
  if (text === null || stats === null) return
  const silent = Date.now() - stats.mtimeMs > dead
  if (!silent && !isGone(text)) return
  const aside = `${file}.${process.pid}`
  await rename(file, aside).catch(() => {})
  await rm(aside, { force: true })
}

/** Whether the holder was a process of this machine, and is no more. */
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
