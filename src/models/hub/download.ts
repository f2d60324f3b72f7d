import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { withLock } from '../../lock.ts'
import { makeFolder } from '../../make-folder.ts'
import { bytesText } from '../../sizes.ts'
import type { Bytes, HubClient } from './client.ts'
import type { Refusal } from './refusals.ts'

/** A file to download, and its destination. */
export interface Transfer {
  url: string
  what: Refusal
  bytes: number
  /** A sha256, or git's hash of a blob; null if the file is not from a hub. */
  hash: string | null
  /**
   * Identifies the version of a file without a hash (`Bytes.validator`). Without either, the file is downloaded in one piece
   * and again each time.
   */
  validator: string | null
  /** The complete and checked file. Until then its bytes are in another file in the same folder. */
  target: string
  /** The holder of this lock downloads the file; others wait. */
  lock: string
}

export interface Watch {
  signal: AbortSignal
  /** Bytes so far, including those of earlier attempts. */
  onBytes(done: number): void
  onWait(): void
  onCheck(): void
}

/** Connections for one file: a single one seldom uses the whole bandwidth. */
const connections = 4
/** The number of parts of a download, and the limits of their size in bytes. */
const parts = { count: 8, least: 1 << 20, most: 64 << 20 }
/** The interval at which progress is saved, in ms. After a crash the bytes since then are downloaded again. */
const noteEvery = 500

/**
 * Downloads a file in parallel parts, resumes an interrupted download, and checks the hash. If another process downloads
 * the same file, it waits for that.
 * @throws OrielError `timeout` after too many errors of the network, `invalid` if the hash does not match, or with the code
 *   `file_changed` if a file without a hash has changed
 */
export async function download(client: HubClient, transfer: Transfer, watch: Watch): Promise<void> {
  if (await isComplete(transfer)) return watch.onBytes(transfer.bytes)
  await withLock(transfer.lock, watch.signal, watch.onWait, async () => {
    if (await isComplete(transfer)) return watch.onBytes(transfer.bytes)
    await makeFolder(path.dirname(transfer.target))
    const { incomplete, notes, origin } = besides(transfer.target)
    await fill(client, transfer, watch)
    watch.onCheck()
    await check(transfer, incomplete, watch.signal)
    await rename(incomplete, transfer.target).catch(async (error: unknown) => {
      // While this machine slept, another process may have taken over the lock and finished first.
      if (!(await isComplete(transfer))) throw error
    })
    // Written last, so that it never describes the file that was there before.
    if (transfer.hash === null) await writeFile(origin, JSON.stringify(originOf(transfer)), secret)
    await rm(notes, { force: true })
  })
}

/** Copies a file and then renames it, since an engine may be reading an older file of that name. */
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

/** The lock of a file outside of the cache. */
export const lockOf = (target: string): string => `${target}.oriel.lock`

/** Bytes that remain to be downloaded. */
export async function missingBytes(transfer: Transfer): Promise<number> {
  if (await isComplete(transfer)) return 0
  const begun = await readNotes(transfer)
  return transfer.bytes - (begun ?? []).reduce((sum, { from, at }) => sum + at - from, 0)
}

/** @throws OrielError `invalid` if the disk of a folder does not have enough space */
export async function checkSpace(folder: string, bytes: number): Promise<void> {
  await makeFolder(folder)
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  if (bytes + spare > free)
    throw new OrielError(
      'invalid',
      `Not enough disk space: ${bytesText(bytes)} are to be downloaded, ${bytesText(free)} are free, and ${bytesText(spare)} are to stay free.`,
      { code: 'no_space' },
    )
}

/** Bytes that stay free on the disk. */
const spare = 64e6

/** A part of a file: bytes `from` to `at` have been downloaded, and `to` is its end, both exclusive. */
interface Part {
  from: number
  at: number
  to: number
}

/** The source and version of a file without a hash. A URL may contain a key. */
const originSchema = z.object({ url: z.string(), validator: z.string().nullable() })
const secret = { mode: 0o600 }

const notesSchema = z.object({
  bytes: z.number(),
  parts: z.array(z.object({ from: z.int().min(0), at: z.int().min(0), to: z.int().min(0) })),
  origin: originSchema.optional(),
})

/** Not huggingface_hub's `HASH.incomplete`, which is filled from the front: a file of parts must not be taken for it. */
export const besides = (target: string) => ({
  incomplete: `${target}.oriel.incomplete`,
  notes: `${target}.oriel.parts`,
  /** The source of a complete file without a hash. */
  origin: `${target}.oriel.origin`,
})

const originOf = ({ url, validator }: Transfer): z.infer<typeof originSchema> => ({ url, validator })

/** Whether downloaded bytes can be distinguished from those of another version. */
const isIdentified = ({ hash, validator }: Transfer): boolean => hash !== null || validator !== null

/** A file with a hash is stored under that name and has been checked. */
const isOfOrigin = (transfer: Transfer, origin: z.infer<typeof originSchema> | undefined): boolean =>
  transfer.hash !== null ||
  (isIdentified(transfer) && origin?.url === transfer.url && origin.validator === transfer.validator)

export async function isComplete(transfer: Transfer): Promise<boolean> {
  const { target, bytes, hash } = transfer
  try {
    if ((await stat(target)).size !== bytes) return false
    return isOfOrigin(transfer, hash === null ? originSchema.parse(await readJson(besides(target).origin)) : undefined)
  } catch {
    return false
  }
}

/** The saved progress of an earlier attempt; null if there is none for this version. */
async function readNotes(transfer: Transfer): Promise<Part[] | null> {
  const { incomplete, notes } = besides(transfer.target)
  try {
    const { bytes, parts, origin } = notesSchema.parse(await readJson(notes))
    const { size } = await stat(incomplete)
    const honest = parts.every(({ from, at, to }) => from <= at && at <= to && (at === from || at <= size))
    return bytes === transfer.bytes && honest && isOfOrigin(transfer, origin) ? parts : null
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

/** Downloads the missing parts of a file. */
async function fill(client: HubClient, transfer: Transfer, watch: Watch): Promise<void> {
  const { incomplete, notes } = besides(transfer.target)
  const begun = await readNotes(transfer)
  const wanted = begun ?? (isIdentified(transfer) ? newParts(transfer.bytes) : [{ from: 0, at: 0, to: transfer.bytes }])
  // The notes are of another version.
  if (begun === null) await rm(notes, { force: true })
  const file = await open(incomplete, begun === null ? 'w' : 'r+')
  const done = (): number => wanted.reduce((sum, { from, at }) => sum + at - from, 0)
  // Notes are written one after the other and renamed, so that they are always complete.
  let noted = Promise.resolve()
  const note = (): Promise<void> => {
    noted = noted
      .catch(() => {})
      .then(async () => {
        const origin = transfer.hash === null ? { origin: originOf(transfer) } : {}
        await writeFile(`${notes}.new`, JSON.stringify({ bytes: transfer.bytes, parts: wanted, ...origin }), secret)
        await rename(`${notes}.new`, notes)
      })
    return noted
  }
  const noting = setInterval(() => void note().catch(() => {}), noteEvery)
  // A part that fails stops the others.
  const stop = new AbortController()
  const signal = AbortSignal.any([watch.signal, stop.signal])
  const waiting = wanted.filter(({ at, to }) => at < to)
  const worker = async (): Promise<void> => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      const mine = part
      await client.retried(
        transfer.what,
        signal,
        async () => {
          if (!isIdentified(transfer)) mine.at = mine.from
          const bytes = await client.open(transfer.url, mine.at, mine.to, transfer.what, signal, transfer.validator)
          checkVersion(transfer, bytes)
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
    // Without notes the parts are downloaded again.
    await note().catch(() => {})
    await file.close()
  }
}

/** Writes the bytes of a part to their place. @throws Error if the connection is lost */
async function copy({ chunks, partial }: Bytes, file: FileHandle, part: Part, onBytes: () => void): Promise<void> {
  // A server without ranges always sends the file from its beginning.
  let at = partial ? part.at : 0
  for await (const chunk of chunks) {
    const from = Math.max(0, part.at - at)
    const piece = chunk.subarray(from, from + part.to - part.at)
    at += chunk.length
    if (piece.length === 0) continue
    // On a disk that is nearly full, a write may be partial.
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

/** @throws OrielError if the bytes are not of the version that is downloaded: `file_changed` for a file without a hash */
function checkVersion({ hash, validator, bytes, what }: Transfer, answer: Bytes): void {
  const name = what.path ?? what.repo
  const { totalBytes } = answer
  const isOtherSize = totalBytes !== null && totalBytes !== bytes
  if (hash !== null && isOtherSize)
    throw new OrielError('invalid', `${name} should have ${bytes} bytes, but the hub sends ${totalBytes}.`)
  // Not every server supports `If-Range`.
  const isOther = validator !== null && (!answer.partial || (answer.validator ?? validator) !== validator)
  if (hash === null && (isOther || isOtherSize))
    throw new OrielError('invalid', `${name} changed during the download.`, { code: 'file_changed' })
}

/** Deletes the download if its hash does not match. @throws OrielError `invalid` */
async function check({ hash, bytes, what, target }: Transfer, file: string, signal: AbortSignal): Promise<void> {
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
    `${what.path ?? what.repo} is damaged: its hash is ${found} instead of ${hash}. It was deleted; pull it again.`,
    { code: 'bad_hash' },
  )
}
