import { createHash, type Hash, randomUUID } from 'node:crypto'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { startThread } from '../../children/index.ts'
import { OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { programFile } from '../../places.ts'
import type { Constant } from './onnx-file.ts'
import { isOnDisk, isWhole, now, sealBytes, sealNew } from './weight-seal.ts'
import type { ToDisk } from './weights-to-disk.ts'

/** Where weights are kept for the next load, in the form in which they are computed with. */
export interface CacheSettings {
  folder: string
  /** The most that the folder may take, in bytes. The files that were used least recently go first. 0: nothing is kept. */
  mostBytes: number
}

/** A file of weights in the cache. */
export interface WeightFile {
  readonly folder: string
  readonly name: string
  /** Where each constant begins, in bytes. */
  readonly places: readonly number[]
  /** Removes it from the cache. Whoever has mapped it keeps what is mapped. */
  discard(): void
  /** Brings it to the disk. Until then it is believed only as long as the machine runs. */
  settle(): Promise<void>
}

/** To be increased when the same names stand for other numbers, as with another rounding. */
const format = 3
/** Constants begin at multiples of it: the length of a cache line. */
const alignment = 64
/** A vision file is recognized by its size, its time, and as many pieces of this length, in bytes. */
const samples = { count: 16, length: 1 << 16 }
/** Age at which the unfinished file of a process that died is removed, in ms. */
const abandonedMs = 3_600_000

const endings = { weights: '.weights', notes: '.json', unfinished: '.new' } as const

/**
 * What was made from one vision file, for the next load of it: the weights in the form of a graph, and notes. It may be
 * deleted at any time, by hand or by another process, and nothing needs it: a folder that cannot be written, a full disk and
 * a damaged file cost the time that making the weights takes.
 */
export class WeightCache {
  readonly #settings: CacheSettings
  readonly #source: string

  private constructor(settings: CacheSettings, source: string) {
    this.#settings = settings
    this.#source = source
  }

  /**
   * @param adapter path of what is added to the matrices of the file
   * @returns null if nothing is to be kept
   */
  static of(file: string, settings: CacheSettings, adapter?: string): WeightCache | null {
    if (settings.mostBytes === 0) return null
    const own = identityOf(file)
    return new WeightCache(settings, adapter === undefined ? own : shortHash(`${own} ${identityOf(adapter)}`))
  }

  /**
   * Finds the file with these constants, or makes it.
   * @param onProgress called with the share that is made, 0 to 1
   * @returns null if there is none and none can be kept
   * @throws OrielError `invalid` if the vision file cannot be read
   */
  place(constants: readonly Constant[], onProgress: (share: number) => void): WeightFile | null {
    const { folder } = this.#settings
    const { places, bytes } = layoutOf(constants)
    const shapes = constants.map(({ name, type, shape }) => [name, type, shape])
    const name = `${this.#source}-${shortHash(JSON.stringify([format, shapes]))}${endings.weights}`
    const file = path.join(folder, name)
    const settle = async () => (isOnDisk(file, bytes) ? undefined : await settled({ file, bytes }))
    const found = { folder, name, places, discard: () => remove(file), settle }
    if (isWhole(file, bytes)) {
      touch(file)
      return found
    }
    try {
      makeRoom(this.#settings, bytes + sealBytes, file)
      write(file, (descriptor) => writeConstants(descriptor, constants, places, bytes, onProgress))
      return found
    } catch (error) {
      if (error instanceof OrielError) throw error
      return null
    }
  }

  /** What `keep` kept under this name, for the same vision file; undefined if there is nothing. Check what it is. */
  recall(name: string): unknown {
    return this.#notes()[name]
  }

  /** Keeps a value of JSON beside the weights, if it can be kept. */
  keep(name: string, value: unknown): void {
    const text = JSON.stringify({ ...this.#notes(), [name]: value })
    try {
      mkdirSync(this.#settings.folder, { recursive: true })
      write(this.#notesFile, (descriptor) => writeFileSync(descriptor, text))
    } catch {
      // It is found out again.
    }
  }

  get #notesFile(): string {
    return path.join(this.#settings.folder, `${this.#source}${endings.notes}`)
  }

  #notes(): Record<string, unknown> {
    try {
      const notes = parseJson(readFileSync(this.#notesFile, 'utf8'))
      return typeof notes === 'object' && notes !== null ? { ...notes } : {}
    } catch {
      return {}
    }
  }
}

/** A name for the content of a file. Some systems of packages give every file the same time, so pieces of it count too. */
function identityOf(file: string): string {
  const { size, mtimeMs } = statSync(file)
  const hash = createHash('sha256').update(`${size} ${Math.floor(mtimeMs)}`)
  const descriptor = openSync(file, 'r')
  try {
    const piece = Buffer.alloc(samples.length)
    const step = Math.max(0, (size - samples.length) / (samples.count - 1))
    for (let index = 0; index < samples.count; index++) {
      const read = readSync(descriptor, piece, 0, piece.length, Math.floor(index * step))
      hash.update(piece.subarray(0, read))
    }
  } finally {
    closeSync(descriptor)
  }
  return shortened(hash)
}

function layoutOf(constants: readonly Constant[]): { places: number[]; bytes: number } {
  let bytes = 0
  const places = constants.map((constant) => {
    const at = Math.ceil(bytes / alignment) * alignment
    bytes = at + constant.bytes
    return at
  })
  return { places, bytes }
}

/** On a thread of its own, which ends with it. */
function settled(data: ToDisk): Promise<void> {
  const thread = startThread(programFile('encoders/graph/weights-to-disk'), data)
  thread.unref()
  return new Promise((resolve) => {
    // Without it the file is believed as long as the machine runs.
    thread.once('error', () => {})
    thread.once('exit', () => resolve())
  })
}

function writeConstants(
  descriptor: number,
  constants: readonly Constant[],
  places: readonly number[],
  bytes: number,
  onProgress: (share: number) => void,
): void {
  let at = 0
  const append = (piece: Uint8Array): void => {
    writeFileSync(descriptor, piece)
    at += piece.length
    onProgress(at / bytes)
  }
  constants.forEach(({ name, bytes, pieces }, index) => {
    const start = places[index] ?? 0
    append(new Uint8Array(start - at))
    for (const { buffer, byteOffset, byteLength } of pieces()) append(new Uint8Array(buffer, byteOffset, byteLength))
    if (at !== start + bytes) throw new Error(`the constant ${name} has ${at - start} bytes instead of ${bytes}`)
  })
  sealNew(descriptor)
}

/** Nobody sees an incomplete file, and of several writers the last one stays. @throws errors of the system, and of `fill` */
function write(file: string, fill: (descriptor: number) => void): void {
  const unfinished = `${file}.${randomUUID()}${endings.unfinished}`
  const descriptor = openSync(unfinished, 'wx')
  try {
    try {
      fill(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(unfinished, file)
  } catch (error) {
    remove(unfinished)
    throw error
  }
}

/** Makes room for a file. @throws Error if there is none */
function makeRoom({ folder, mostBytes }: CacheSettings, bytes: number, file: string): void {
  mkdirSync(folder, { recursive: true })
  const others = filesIn(folder).filter((one) => one.file !== file)
  let taken = others.reduce((sum, one) => sum + one.bytes, 0)
  if (bytes > mostBytes) throw new Error('the cache is too small')
  for (const { file, bytes: freed } of others) {
    if (taken + bytes <= mostBytes) break
    remove(file)
    taken -= freed
  }
  // As much is left for everybody else.
  const { bavail, bsize } = statfsSync(folder)
  if (bavail * bsize < 2 * bytes) throw new Error('the disk is full')
}

/** The cache's files, the one that was used least recently first. Files that dead processes have left are removed. */
function filesIn(folder: string): { file: string; bytes: number; usedAt: number }[] {
  const ours = readdirSync(folder).filter((name) => Object.values(endings).some((ending) => name.endsWith(ending)))
  const files = ours.flatMap((name) => {
    const file = path.join(folder, name)
    const { size: bytes = 0, atimeMs: usedAt = 0, mtimeMs = 0 } = statSync(file, { throwIfNoEntry: false }) ?? {}
    if (!name.endsWith(endings.unfinished) || Date.now() - mtimeMs < abandonedMs) return [{ file, bytes, usedAt }]
    remove(file)
    return []
  })
  return files.sort((a, b) => a.usedAt - b.usedAt)
}

/** On Windows a file that is in use cannot be removed. */
function remove(file: string): void {
  try {
    rmSync(file, { force: true })
  } catch {
    // It stays.
  }
}

/** Its last use, without a change of the time that it was written. */
function touch(file: string): void {
  try {
    utimesSync(file, now(), statSync(file).mtimeMs / 1000)
  } catch {
    // The folder is read-only.
  }
}

const shortHash = (text: string): string => shortened(createHash('sha256').update(text))
const shortened = (hash: Hash): string => hash.digest('hex').slice(0, 24)
