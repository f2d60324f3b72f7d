import { randomUUID } from 'node:crypto'
import { open, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { checkSpace, isFull, isLocked, noSpace, systemCode } from '../../disk.ts'
import { OrielError } from '../../errors.ts'
import { makeFolder } from '../../make-folder.ts'
import { sidecarName } from '../adapter-files.ts'
import { adaptersFolder } from '../local.ts'
import { type Upload, UploadFolder } from './folder.ts'
import { checkModelName, filesWith, isModelName } from './names.ts'

/** What an upload is to become. */
export type WantedUpload = Pick<Upload, 'model' | 'account' | 'kind' | 'base'>

/** A file that may be sent. */
export interface Expected {
  /** Of the upload: an earlier one of the same name does not count. */
  readonly upload: string
  readonly model: string
  readonly file: string
  readonly bytes: number
}

export interface UploadOptions {
  /** The folder of models. */
  readonly folder: string
  /** Checks complete files in a folder as those of a model or an adapter of this name. @throws OrielError why they cannot be used */
  check(folder: string, name: string, kind: Upload['kind']): Promise<void>
}

/** Uploads at the same time, and files that arrive at the same time. */
const most = { all: 200, ofAccount: 20, arriving: 16, ofUpload: 8 }

/** Gives all bytes of a file to `write`, one call after the other. */
type Source = (write: (bytes: Buffer) => Promise<void>) => Promise<void>

/** A file that is being received. */
interface Arriving {
  readonly expected: Expected
  readonly path: string
  /** Its upload was deleted. */
  isDropped: boolean
}

/** Models and adapters that clients send, file by file. */
export class Uploads {
  readonly #options: UploadOptions
  readonly #folder: UploadFolder
  readonly #arriving = new Set<Arriving>()
  /** By the name of the model. */
  readonly #finishing = new Map<string, Promise<void>>()
  /** The last change of what is to come. Each counts on the one before. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: UploadOptions) {
    this.#options = options
    this.#folder = new UploadFolder(options.folder)
  }

  /** The oldest first. */
  list(): Promise<Upload[]> {
    return this.#folder.list()
  }

  /** The upload of an account that will have this name. */
  async find(account: string, model: string): Promise<Upload | undefined> {
    if (!isModelName(model)) return undefined
    const upload = await this.#folder.read(model)
    return upload?.account === account ? upload : undefined
  }

  /**
   * Begins an upload.
   * @param dryRun only checks
   * @throws OrielError `invalid` for the name; `conflict` if there is an upload of it; `precondition_failed` at a limit
   */
  async begin(wanted: WantedUpload, { dryRun = false } = {}): Promise<Upload> {
    checkModelName(wanted.model)
    return this.#inTurn(() => this.#begin(wanted, dryRun))
  }

  async #begin(wanted: WantedUpload, dryRun: boolean): Promise<Upload> {
    await this.sweep()
    const own = (await this.list()).filter(({ account }) => account === wanted.account)
    if (own.length >= most.ofAccount || (await this.#folder.count()) >= most.all)
      throw new OrielError(
        'precondition_failed',
        `${own.length} models of this account are being uploaded; ${most.ofAccount} may, and ${most.all} of all accounts. Finish or delete some.`,
        { code: 'too_many_uploads' },
      )
    const upload = { ...wanted, id: randomUUID(), created: Date.now(), files: {}, error: null }
    if (!dryRun) await this.#onDisk(() => this.#folder.create(upload))
    return upload
  }

  /**
   * Says which files will come. Files that were announced before stay; one of another size has to be sent again.
   * @param files bytes by name
   * @throws OrielError `invalid` for a name or a size; `precondition_failed` without space for them
   */
  announce(upload: Upload, files: Readonly<Record<string, number>>): Promise<Upload> {
    return this.#inTurn(() => this.#announce(upload, files))
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#last.then(change)
    this.#last = done.catch(() => {})
    return done
  }

  async #announce({ id, model }: Upload, files: Readonly<Record<string, number>>): Promise<Upload> {
    const upload = await this.#folder.read(model)
    if (upload?.id !== id) throw notExpected()
    const changed = { ...upload, files: filesWith(upload, files) }
    this.#refuseWhileFinishing(model)
    const missing = await this.#missing(changed)
    await checkSpace(
      this.#options.folder,
      missing.reduce((sum, name) => sum + (changed.files[name] ?? 0), 0),
    )
    await this.#onDisk(() => this.#folder.write(changed))
    return changed
  }

  /**
   * Receives a file. It is there when it is complete, and not before.
   * @throws OrielError `not_found` if the upload does not expect it; `conflict` while it arrives from somebody else; `invalid`
   *   for another number of bytes; `precondition_failed` if the disk is full; and as `source` does
   */
  async receive(expected: Expected, source: Source): Promise<void> {
    const { model, file, bytes } = expected
    await this.#need(expected)
    this.#refuseWhileFinishing(model)
    const others = this.#arrivingOf(model)
    if (others.some((one) => one.expected.file === file))
      throw new OrielError('conflict', `${file} is being sent already.`, { code: 'upload_running' })
    if (others.length >= most.ofUpload || this.#arriving.size >= most.arriving)
      throw new OrielError(
        'overloaded',
        `${others.length} files of this upload are arriving; ${most.ofUpload} may at one time, and ${most.arriving} of all uploads.`,
        { code: 'too_many_uploads', retryAfter: 10 },
      )
    const arriving: Arriving = { expected, path: this.#folder.newArriving(), isDropped: false }
    this.#arriving.add(arriving)
    try {
      await this.#onDisk(async () => {
        await checkSpace(this.#options.folder, bytes)
        await this.#write(arriving, source)
      })
    } finally {
      await rm(arriving.path, { force: true })
      this.#arriving.delete(arriving)
    }
  }

  /**
   * Checks the files of an upload, and makes a model or an adapter of it.
   * @throws OrielError `precondition_failed` with the reason, if files are missing or cannot be used; `conflict`
   */
  finish(upload: Upload): Promise<void> {
    const { model } = upload
    const finishing = this.#finishing.get(model) ?? this.#finish(upload).finally(() => this.#finishing.delete(model))
    this.#finishing.set(model, finishing)
    return finishing
  }

  /** Drops an upload, with all that came. @throws OrielError `conflict` while it is checked */
  async cancel({ model }: Upload): Promise<void> {
    this.#refuseWhileFinishing(model)
    for (const arriving of this.#arrivingOf(model)) arriving.isDropped = true
    await this.#onDisk(() => this.#folder.remove(model))
  }

  /** Removes what nobody will finish. */
  sweep(): Promise<void> {
    const used = [...this.#arriving].flatMap(({ expected, path }) => [expected.model, path])
    return this.#folder.sweep((name) => used.includes(name) || this.#finishing.has(name))
  }

  async #write(arriving: Arriving, source: Source): Promise<void> {
    const { expected, path: file } = arriving
    await makeFolder(path.dirname(file))
    const target = await open(file, 'wx')
    let received = 0
    try {
      await source(async (chunk) => {
        received += chunk.length
        if (arriving.isDropped) throw notExpected()
        if (received > expected.bytes) throw wrongSize(expected, `more than ${expected.bytes}`)
        await target.writeFile(chunk)
      })
    } finally {
      await target.close()
    }
    if (received < expected.bytes) throw wrongSize(expected, String(received))
    // The upload may have been deleted meanwhile, or the file announced anew.
    await this.#need(expected)
    await rename(file, path.join(this.#folder.filesOf(expected.model), expected.file))
  }

  async #finish(upload: Upload): Promise<void> {
    const { model, kind, base } = upload
    const arriving = this.#arrivingOf(model).map(({ expected }) => expected.file)
    const missing = [...new Set([...arriving, ...(await this.#missing(upload))])]
    if (missing.length > 0 || Object.keys(upload.files).length === 0) throw incomplete(model, missing)
    const files = this.#folder.filesOf(model)
    try {
      await this.#onDisk(async () => {
        if (base !== null) await writeFile(path.join(files, sidecarName), JSON.stringify({ base }))
        await this.#options.check(files, model, kind)
        await this.#folder.publish(
          upload,
          path.join(this.#options.folder, kind === 'adapter' ? adaptersFolder : '', model),
        )
      })
    } catch (error) {
      if (!(error instanceof OrielError) || !['invalid', 'precondition_failed'].includes(error.kind)) throw error
      const reason = `The upload ${model} cannot be used. ${error.message}`
      await this.#onDisk(() => this.#folder.write({ ...upload, error: reason }))
      throw new OrielError('precondition_failed', reason, { code: error.code, cause: error })
    }
  }

  /** Files that were announced and are not here, or not as they were announced. */
  async #missing({ model, files }: Upload): Promise<string[]> {
    const found = await Promise.all(
      Object.entries(files).map(async ([name, bytes]) => {
        const { size } = await stat(path.join(this.#folder.filesOf(model), name)).catch(() => ({ size: -1 }))
        return size === bytes ? [] : [name]
      }),
    )
    return found.flat()
  }

  /** @throws OrielError `not_found` */
  async #need({ upload, model, file, bytes }: Expected): Promise<void> {
    const found = await this.#folder.read(model)
    if (found?.id !== upload || !Object.hasOwn(found.files, file) || found.files[file] !== bytes) throw notExpected()
  }

  #arrivingOf(model: string): Arriving[] {
    return [...this.#arriving].filter(({ expected }) => expected.model === model)
  }

  /** @throws OrielError `conflict` */
  #refuseWhileFinishing(model: string): void {
    if (!this.#finishing.has(model)) return
    throw new OrielError('conflict', `The files of ${model} are being checked.`, { code: 'upload_running' })
  }

  /** Work on the disk, whose errors a client may read. */
  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (isFull(error)) throw noSpace('It became full.')
      // It was deleted meanwhile.
      if (systemCode(error) === 'ENOENT') throw notExpected()
      if (isLocked(error))
        throw new OrielError('precondition_failed', 'The server may not write to its folder of models.', {
          code: 'folder_not_writable',
          cause: error,
        })
      throw error
    }
  }
}

const notExpected = (): OrielError =>
  new OrielError('not_found', 'This file is not expected here any more: ask for where to upload it.', {
    code: 'upload_not_found',
  })

const wrongSize = ({ file, bytes }: Expected, found: string): OrielError =>
  new OrielError('invalid', `${file} was announced with ${bytes} bytes; found ${found}.`, { code: 'wrong_size' })

const incomplete = (model: string, missing: readonly string[]): OrielError =>
  new OrielError(
    'precondition_failed',
    missing.length === 0
      ? `No files of ${model} were announced.`
      : `${missing.length} files of ${model} are not here: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ' and others' : ''}.`,
    { code: 'upload_incomplete' },
  )
