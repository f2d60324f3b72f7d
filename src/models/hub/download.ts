import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import type { Bytes, HubClient } from './client.ts'
import { withLock } from './lock.ts'
import type { Refusal } from './refusals.ts'

/** What is to be fetched, and where to. */
export interface Fetch {
  url: string
  what: Refusal
  bytes: number
  /** A sha256, or git's hash of a blob; null where the file is of no hub. */
  hash: string | null
  /**
   * Where there is no hash: what tells this version of the file from others (`Bytes.validator`). Without it the file is
   * fetched in one piece, and anew each time.
   */
  validator: string | null
  /** The whole and checked file. While it is fetched its bytes lie beside it. */
  target: string
  /** Who holds this fetches the file; others wait. */
  lock: string
}

export interface Watch {
  signal: AbortSignal
  /** Bytes that have come, those of an earlier pull among them. */
  onBytes(done: number): void
  onWait(): void
  onCheck(): void
}

/** Connections at a time for one file: one alone seldom fills a line. */
const connections = 4
/** A file is fetched in this many parts, within bounds of their bytes. */
const parts = { count: 8, least: 1 << 20, most: 64 << 20 }
/** How often what is here is written down, in ms: what came later is fetched again after a crash. */
const noteEvery = 500

/**
 * Fetches a file in parts side by side, goes on where an earlier pull was interrupted, and checks its hash. Somebody
 * else's pull of the same file is waited for.
 * @throws OrielError `timeout` where the network fails for good, `invalid` for bytes that are not those of the hash, or
 * with the code `file_changed` where a file without one is another by now
 */
export async function download(client: HubClient, fetch: Fetch, watch: Watch): Promise<void> {
  if (await isThere(fetch)) return watch.onBytes(fetch.bytes)
  await withLock(fetch.lock, watch.signal, watch.onWait, async () => {
    if (await isThere(fetch)) return watch.onBytes(fetch.bytes)
    await mkdir(path.dirname(fetch.target), { recursive: true })
    const { incomplete, notes, origin } = besides(fetch.target)
    await fill(client, fetch, watch)
    watch.onCheck()
    await check(fetch, incomplete, watch.signal)
    await rename(incomplete, fetch.target).catch(async (error: unknown) => {
      // This machine may have slept until somebody took the lock over and was done first.
      if (!(await isThere(fetch))) throw error
    })
    // Not before: what it says of a file must never be said of the one that was there.
    if (fetch.hash === null) await writeFile(origin, JSON.stringify(originOf(fetch)), secret)
    await rm(notes, { force: true })
  })
}

/** Puts a copy of a file in place as a fetched one is: whole, and beside one that an engine may be reading. */
export async function copyTo(target: string, file: string, signal: AbortSignal, onWait: () => void): Promise<void> {
  await withLock(lockOf(target), signal, onWait, async () => {
    const { incomplete, notes, origin } = besides(target)
    await rm(notes, { force: true })
    try {
      await pipeline(createReadStream(file), createWriteStream(incomplete), { signal })
      await rm(origin, { force: true })
      await rename(incomplete, target)
    } finally {
      await rm(incomplete, { force: true })
    }
  })
}

/** Of a file that lies in no cache. */
export const lockOf = (target: string): string => `${target}.oriel.lock`

/** Bytes of a fetch that are not here yet. */
export async function missingBytes(fetch: Fetch): Promise<number> {
  if (await isThere(fetch)) return 0
  const begun = await readNotes(fetch)
  return fetch.bytes - (begun ?? []).reduce((sum, { from, at }) => sum + at - from, 0)
}

/** @throws OrielError `invalid` where a folder's disk has no room for so many bytes */
export async function checkSpace(folder: string, bytes: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  if (bytes + spare > free)
    throw new OrielError(
      'invalid',
      `There is no room for it: ${gigabytes(bytes)} are to be fetched, and the disk of ${folder} has ${gigabytes(free)} free. \`oriel rm\` frees some, and HF_HUB_CACHE names another folder.`,
      { code: 'no_space' },
    )
}

/** A disk that is filled to the last byte helps nobody. */
const spare = 64e6
const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`

/** A part of a file: bytes from `from` to before `at` are here, those to before `to` are wanted. */
interface Part {
  from: number
  at: number
  to: number
}

/** Where a file without a hash comes from, and which version of it that is. A URL may hold a key. */
const originSchema = z.object({ url: z.string(), validator: z.string().nullable() })
const secret = { mode: 0o600 }

const notesSchema = z.object({
  bytes: z.number(),
  parts: z.array(z.object({ from: z.int().min(0), at: z.int().min(0), to: z.int().min(0) })),
  origin: originSchema.optional(),
})

/** Python's own `HASH.incomplete` is filled from the front: parts side by side must not be taken for that. */
export const besides = (target: string) => ({
  incomplete: `${target}.oriel.incomplete`,
  notes: `${target}.oriel.parts`,
  /** Of a whole file without a hash. */
  origin: `${target}.oriel.origin`,
})

const originOf = ({ url, validator }: Fetch): z.infer<typeof originSchema> => ({ url, validator })

/** Whether bytes that are here may be told from those of another version. */
const isTold = ({ hash, validator }: Fetch): boolean => hash !== null || validator !== null

/** A file with a hash lies under that name, and is checked when it is whole. */
const isOfOrigin = (fetch: Fetch, origin: z.infer<typeof originSchema> | undefined): boolean =>
  fetch.hash !== null || (isTold(fetch) && origin?.url === fetch.url && origin.validator === fetch.validator)

async function isThere(fetch: Fetch): Promise<boolean> {
  const { target, bytes, hash } = fetch
  try {
    if ((await stat(target)).size !== bytes) return false
    return isOfOrigin(fetch, hash === null ? originSchema.parse(await readJson(besides(target).origin)) : undefined)
  } catch {
    return false
  }
}

/** What an earlier pull has written down; null where there is nothing that fits. */
async function readNotes(fetch: Fetch): Promise<Part[] | null> {
  const { incomplete, notes } = besides(fetch.target)
  try {
    const { bytes, parts, origin } = notesSchema.parse(await readJson(notes))
    const { size } = await stat(incomplete)
    const honest = parts.every(({ from, at, to }) => from <= at && at <= to && (at === from || at <= size))
    return bytes === fetch.bytes && honest && isOfOrigin(fetch, origin) ? parts : null
  } catch {
    return null
  }
}

const readJson = async (file: string): Promise<unknown> => JSON.parse(await readFile(file, 'utf8'))

function newParts(bytes: number): Part[] {
  const length = Math.min(parts.most, Math.max(parts.least, Math.ceil(bytes / parts.count)))
  return Array.from({ length: Math.ceil(bytes / length) }, (_, index) => {
    const from = index * length
    return { from, at: from, to: Math.min(bytes, from + length) }
  })
}

/** Fetches what lacks of a file. */
async function fill(client: HubClient, fetch: Fetch, watch: Watch): Promise<void> {
  const { incomplete, notes } = besides(fetch.target)
  const begun = await readNotes(fetch)
  const wanted = begun ?? (isTold(fetch) ? newParts(fetch.bytes) : [{ from: 0, at: 0, to: fetch.bytes }])
  // What they say is of another version, or of nothing.
  if (begun === null) await rm(notes, { force: true })
  const file = await open(incomplete, begun === null ? 'w' : 'r+')
  const done = (): number => wanted.reduce((sum, { from, at }) => sum + at - from, 0)
  // One after the other, and put in place whole: a half of a note is worth nothing.
  let noted = Promise.resolve()
  const note = (): Promise<void> => {
    noted = noted
      .catch(() => {})
      .then(async () => {
        const origin = fetch.hash === null ? { origin: originOf(fetch) } : {}
        await writeFile(`${notes}.new`, JSON.stringify({ bytes: fetch.bytes, parts: wanted, ...origin }), secret)
        await rename(`${notes}.new`, notes)
      })
    return noted
  }
  const noting = setInterval(() => void note().catch(() => {}), noteEvery)
  // The first that fails for good stops the others.
  const stop = new AbortController()
  const signal = AbortSignal.any([watch.signal, stop.signal])
  const waiting = wanted.filter(({ at, to }) => at < to)
  const worker = async (): Promise<void> => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      const mine = part
      await client.retried(
        fetch.what,
        signal,
        async () => {
          if (!isTold(fetch)) mine.at = mine.from
          const bytes = await client.open(fetch.url, mine.at, mine.to, fetch.what, signal, fetch.validator)
          checkVersion(fetch, bytes)
          checkLength(fetch, bytes)
          await copy(bytes, file, mine, () => watch.onBytes(done()))
        },
        () => mine.at,
      )
    }
  }
  watch.onBytes(done())
  const workers = Array.from({ length: connections }, worker)
  try {
    await Promise.all(workers)
  } finally {
    stop.abort()
    await Promise.allSettled(workers)
    clearInterval(noting)
    // What cannot be noted is fetched again, and no more.
    await note().catch(() => {})
    await file.close()
  }
}

/** Writes what comes of a part where it belongs. @throws Error where the connection is cut */
async function copy({ chunks, partial }: Bytes, file: FileHandle, part: Part, onBytes: () => void): Promise<void> {
  // A server that knows no ranges sends the file from its beginning, every time.
  let at = partial ? part.at : 0
  for await (const chunk of chunks) {
    const from = Math.max(0, part.at - at)
    const piece = chunk.subarray(from, from + part.to - part.at)
    at += chunk.length
    if (piece.length === 0) continue
    // A disk that is nearly full takes a part of them first.
    for (let written = 0; written < piece.length; ) {
      const { bytesWritten } = await file.write(piece, written, piece.length - written, part.at)
      written += bytesWritten
      part.at += bytesWritten
    }
    onBytes()
    if (part.at >= part.to) return
  }
  if (part.at < part.to) throw Object.assign(new Error('fewer bytes than announced'), { code: 'CUT_SHORT' })
}

/** @throws OrielError `file_changed` for bytes that may be of another version than those that are here */
function checkVersion({ hash, validator, bytes, what }: Fetch, answer: Bytes): void {
  if (hash !== null) return
  // Not every server looks at `If-Range`.
  const isOther = validator !== null && (!answer.partial || (answer.validator ?? validator) !== validator)
  if (isOther || (answer.totalBytes ?? bytes) !== bytes)
    throw new OrielError('invalid', `${what.path ?? what.repo} has changed while it was fetched.`, {
      code: 'file_changed',
    })
}

function checkLength({ bytes, what }: Fetch, { totalBytes }: Bytes): void {
  if (totalBytes !== null && totalBytes !== bytes)
    throw new OrielError(
      'invalid',
      `${what.path ?? what.repo} should have ${bytes} bytes, and what the hub sends has ${totalBytes}.`,
    )
}

/** @throws OrielError `invalid`, and what was fetched is gone */
async function check({ hash, bytes, what, target }: Fetch, file: string, signal: AbortSignal): Promise<void> {
  if (hash === null) return
  const digest = /^[0-9a-f]{64}$/.test(hash)
    ? createHash('sha256')
    : /^[0-9a-f]{40}$/.test(hash)
      ? createHash('sha1').update(`blob ${bytes}\0`)
      : null
  if (digest === null) return
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20, signal })) digest.update(chunk)
  const found = digest.digest('hex')
  if (found === hash) return
  await rm(file, { force: true })
  await rm(besides(target).notes, { force: true })
  throw new OrielError(
    'invalid',
    `${what.path ?? what.repo} is damaged: its hash is ${found}, and the hub says ${hash}. It is deleted; pull it again.`,
    { code: 'bad_hash' },
  )
}
