import { randomUUID } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { makeFolder } from '../../make-folder.ts'
import { uploadsFolder } from '../local.ts'

const uploadSchema = z.object({
  /** Differs for each upload, also of one name. */
  id: z.string(),
  /** The name that the model will have. */
  model: z.string(),
  account: z.string(),
  kind: z.enum(['model', 'adapter']),
  /** The model that an adapter is for; null: its files tell. */
  base: z.string().nullable(),
  /** In ms since 1970. */
  created: z.number(),
  /** The files that were announced, and their bytes. */
  files: z.record(z.string(), z.number()),
  /** Why it could not be used when it was checked last. */
  error: z.string().nullable(),
})

/** A model or an adapter whose files a client sends. It is no model before they are all here and checked. */
export type Upload = Readonly<z.output<typeof uploadSchema>>

/** Time without a change after which an upload is given up, in ms. */
const abandonedMs = 86_400_000
/** Age at which a file that does not grow is nobody's any more, in ms: longer than a sender may be silent. */
const silentMs = 60_000

/**
 * The uploads on the disk. Each has a folder with its record and the files that are complete. What is made here appears by a
 * rename only, so that a process which is killed leaves a whole upload, or something that `sweep` removes.
 */
export class UploadFolder {
  readonly #folder: string

  /** @param own the folder of models */
  constructor(own: string) {
    this.#folder = path.join(own, uploadsFolder)
  }

  async list(): Promise<Upload[]> {
    const all = await Promise.all((await this.#names()).map((name) => this.read(name)))
    return all.filter((upload) => upload !== undefined).sort((a, b) => a.created - b.created)
  }

  /** How many there are, read or not. */
  async count(): Promise<number> {
    return (await this.#names()).length
  }

  /** @returns undefined if there is none, or if it has become a model */
  async read(model: string): Promise<Upload | undefined> {
    const text = await readFile(this.#recordOf(model), 'utf8').catch(() => null)
    if (text === null || !(await isThere(this.filesOf(model)))) return undefined
    return uploadSchema.safeParse(parseJson(text)).data
  }

  /** @throws OrielError `conflict` if there is one of this name */
  async create(upload: Upload): Promise<void> {
    const made = path.join(this.#folder, `${beginning}${upload.id}`)
    try {
      await makeFolder(path.join(made, filesName))
      await writeFile(path.join(made, recordName), JSON.stringify(upload))
      await rename(made, path.join(this.#folder, upload.model))
    } catch (error) {
      await rm(made, { recursive: true, force: true })
      throw isOccupied(error) ? taken(upload.model) : error
    }
  }

  async write(upload: Upload): Promise<void> {
    const file = this.#recordOf(upload.model)
    const made = `${file}.${randomUUID()}`
    await writeFile(made, JSON.stringify(upload))
    await rename(made, file)
  }

  /** The complete files of an upload. */
  filesOf = (model: string): string => path.join(this.#folder, model, filesName)

  /** The path for a file that arrives. It tells which process writes it. */
  newArriving = (): string => path.join(this.#folder, arrivingName, `${process.pid},${thisHost()},${randomUUID()}`)

  /** Moves the files of an upload to where models are, and forgets the upload. @throws OrielError `conflict` */
  async publish({ model }: Upload, target: string): Promise<void> {
    if (await isThere(target)) throw taken(model)
    await makeFolder(path.dirname(target))
    await rename(this.filesOf(model), target).catch((error: unknown) => {
      throw isOccupied(error) ? taken(model) : error
    })
    await this.remove(model)
  }

  async remove(model: string): Promise<void> {
    // Renamed first: what is half removed must not be taken for an upload.
    const gone = path.join(this.#folder, `${beginning}${randomUUID()}`)
    await rename(path.join(this.#folder, model), gone)
    await rm(gone, { recursive: true, force: true })
  }

  /**
   * Removes what nobody will finish: uploads without a change for a day, and what processes have left that ended.
   * @param isInUse whether this process has to do with an upload, or writes a file
   */
  async sweep(isInUse: (modelOrFile: string) => boolean): Promise<void> {
    const arriving = path.join(this.#folder, arrivingName)
    for (const name of await namesIn(arriving)) {
      const file = path.join(arriving, name)
      if (!isInUse(file) && (isOfEnded(name) || (await ageOf(file)) > silentMs)) await rm(file, { force: true })
    }
    for (const name of await namesIn(this.#folder)) {
      const folder = path.join(this.#folder, name)
      if (name === arrivingName || isInUse(name)) continue
      const isUnfinished = name.startsWith(beginning) || (await this.read(name)) === undefined
      const age = Math.min(await ageOf(folder), await ageOf(this.filesOf(name)))
      if (age > (isUnfinished ? silentMs : abandonedMs)) await rm(folder, { recursive: true, force: true })
    }
  }

  #recordOf = (model: string): string => path.join(this.#folder, model, recordName)

  async #names(): Promise<string[]> {
    return (await namesIn(this.#folder)).filter((name) => !name.startsWith('.'))
  }
}

const [filesName, recordName, arrivingName, beginning] = ['files', 'upload.json', '.arriving', '.new-']

/** There is a model, an adapter or an upload of this name. */
const taken = (model: string): OrielError =>
  new OrielError('conflict', `There is a model or an upload with the name ${model}. Delete it first.`, {
    param: 'modelId',
    code: 'model_exists',
  })

const isOccupied = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && ['EEXIST', 'ENOTEMPTY', 'EPERM'].includes(String(error.code))

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

const isThere = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  )

/** In ms; endless for what is not there. */
const ageOf = (file: string): Promise<number> =>
  stat(file).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => Number.POSITIVE_INFINITY,
  )

const thisHost = (): string => hostname().replace(/[^\w.-]/g, '')

/** Whether the process that wrote an arriving file was one of this machine that has ended. */
function isOfEnded(name: string): boolean {
  const [pid, host] = name.split(',')
  if (host !== thisHost()) return false
  // In a container the next server may have the number of the last one.
  if (Number(pid) === process.pid) return true
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}
