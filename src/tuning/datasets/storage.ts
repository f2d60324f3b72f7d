import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { checkSpace, isFull, isLocked, noSpace, systemCode } from '../../disk.ts'
import { OrielError } from '../../errors.ts'
import { makeFolder } from '../../make-folder.ts'

/** Gives all bytes of a file to `write`, one call after the other. */
export type Source = (write: (bytes: Buffer) => Promise<void>) => Promise<void>

/** The file of a dataset, in a folder of its own. */
const fileName = 'data.jsonl'
const arrivingPrefix = 'arriving-'
/** Age at which a folder that no record names is nobody's, and so is a file that does not grow: longer than a sender may be silent. In ms. */
const forgottenMs = 60_000

/** The files of datasets on the disk. What arrives appears by a rename, when it is whole. */
export class DatasetStorage {
  readonly #folder: string

  /** @param folder made when it is needed */
  constructor(folder: string) {
    this.#folder = folder
  }

  pathOf = (uid: string): string => path.join(this.#folder, uid, fileName)

  /** @returns undefined for one that is not here */
  bytesOf(uid: string): Promise<number | undefined> {
    return stat(this.pathOf(uid)).then(
      ({ size }) => size,
      () => undefined,
    )
  }

  read(uid: string): Readable {
    return createReadStream(this.pathOf(uid))
  }

  /**
   * Receives the file of a dataset, in the place of one that was there.
   * @param onBytes is told how many came, and throws to refuse the rest
   * @returns how many bytes it has @throws OrielError `precondition_failed` if the disk is full; as `source` and `onBytes` do
   */
  async receive(uid: string, source: Source, onBytes: (received: number) => void): Promise<number> {
    return this.#onDisk(async () => {
      const target = this.pathOf(uid)
      await makeFolder(path.dirname(target), 0o700)
      const arriving = path.join(path.dirname(target), `${arrivingPrefix}${randomUUID()}`)
      const file = await open(arriving, 'wx', 0o600)
      let [received, checked] = [0, 0]
      try {
        await source(async (chunk) => {
          received += chunk.length
          onBytes(received)
          if (received > checked) {
            await checkSpace(this.#folder, chunk.length)
            checked = received + spaceStep
          }
          await file.writeFile(chunk)
        })
        await file.sync()
        await rename(arriving, target)
        return received
      } finally {
        await file.close()
        await rm(arriving, { force: true })
      }
    })
  }

  /** @throws OrielError `precondition_failed` */
  checkSpace(bytes: number): Promise<void> {
    return checkSpace(this.#folder, bytes)
  }

  remove(uid: string): Promise<void> {
    return rm(path.join(this.#folder, uid), { recursive: true, force: true })
  }

  /**
   * Removes files of datasets that nobody knows, and what was left of files that a killed server received. Another server may
   * have the same folder: what grows there is not touched.
   */
  async sweep(isKnown: (uid: string) => boolean): Promise<void> {
    const isOld = async (file: string): Promise<boolean> => Date.now() - (await changedAt(file)) > forgottenMs
    for (const uid of await namesIn(this.#folder)) {
      const folder = path.join(this.#folder, uid)
      const arriving = (await namesIn(folder)).filter((name) => name.startsWith(arrivingPrefix))
      for (const file of arriving.map((name) => path.join(folder, name)))
        if (await isOld(file)) await rm(file, { force: true })
      if (!isKnown(uid) && arriving.length === 0 && (await isOld(folder))) await this.remove(uid)
    }
  }

  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (isFull(error)) throw noSpace('It became full.')
      if (systemCode(error) === 'ENOENT')
        throw new OrielError('not_found', 'The dataset was deleted.', { code: 'dataset_not_found' })
      if (isLocked(error))
        throw new OrielError('precondition_failed', 'The server may not write to its folder of datasets.', {
          code: 'folder_not_writable',
          cause: error,
        })
      throw error
    }
  }
}

/** Bytes after which the space on the disk is looked at again. */
const spaceStep = 16e6

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** In ms; now for what is not there. */
const changedAt = (file: string): Promise<number> =>
  stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => Date.now(),
  )
