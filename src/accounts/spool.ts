import { randomUUID } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { OrielError } from '../errors.ts'
import { makeFolder } from '../make-folder.ts'

/** A batch is a file that never changes, so several processes may share a folder. */
const batchName = /^[\w-]+\.json$/
const unfinishedName = /^[\w-]+\.part$/
/** A file that is older and still unfinished was left by a process that was killed, in ms. */
const abandonedMs = 60_000

/** Batches of rows on disk that wait for a database that is cut off. */
export class Spool {
  readonly #folder: string
  readonly #maxBytes: number
  #bytes = 0

  private constructor(folder: string, maxBytes: number) {
    this.#folder = folder
    this.#maxBytes = maxBytes
  }

  /** Takes over what an earlier process has left. @throws OrielError `invalid` that the folder cannot be made */
  static async open(folder: string, maxBytes: number): Promise<Spool> {
    await makeFolder(folder, 0o700).catch((cause: unknown) => {
      throw new OrielError('invalid', `The folder ${folder} cannot be made. ORIEL_DATA_DIR names another one.`, {
        code: 'data_folder',
        cause,
      })
    })
    const spool = new Spool(folder, maxBytes)
    for (const name of await readdir(folder)) {
      const found = await stat(path.join(folder, name)).catch(() => undefined)
      if (found === undefined) continue
      if (batchName.test(name)) spool.#bytes += found.size
      if (unfinishedName.test(name) && Date.now() - found.mtimeMs > abandonedMs)
        await rm(path.join(folder, name), { force: true })
    }
    return spool
  }

  /** @returns false when the spool is full: the rows are not kept. @throws Error that the disk is full or cannot be written */
  async add(rows: readonly unknown[]): Promise<boolean> {
    const text = JSON.stringify(rows)
    if (this.#bytes + text.length > this.#maxBytes) return false
    const file = path.join(this.#folder, `${Date.now()}-${randomUUID()}`)
    try {
      await writeFile(`${file}.part`, text, { mode: 0o600 })
      await rename(`${file}.part`, `${file}.json`)
    } catch (error) {
      // The disk may be full for long, and each attempt would leave a file.
      await rm(`${file}.part`, { force: true }).catch(() => {})
      throw error
    }
    this.#bytes += text.length
    return true
  }

  /** The names of the batches, the oldest first. */
  async batches(): Promise<string[]> {
    const names = await readdir(this.#folder).catch(() => [])
    return names.filter((name) => batchName.test(name)).sort()
  }

  /** @returns undefined for a batch that another process has just removed. @throws SyntaxError for a damaged one */
  async read(batch: string): Promise<unknown | undefined> {
    const text = await readFile(path.join(this.#folder, batch), 'utf8').catch(() => undefined)
    return text === undefined ? undefined : JSON.parse(text)
  }

  /** Keeps a damaged batch for a person. */
  async setAside(batch: string): Promise<void> {
    const file = path.join(this.#folder, batch)
    await rename(file, `${file}.damaged`)
  }

  async remove(batch: string): Promise<void> {
    const file = path.join(this.#folder, batch)
    const size = await stat(file).then(
      ({ size }) => size,
      () => 0,
    )
    await rm(file, { force: true })
    this.#bytes = Math.max(0, this.#bytes - size)
  }
}
