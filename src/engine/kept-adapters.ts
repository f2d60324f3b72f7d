import { createReadStream } from 'node:fs'
import { onAbort, orAborted } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, OrielError } from '../errors.ts'
import { bytesText } from '../sizes.ts'
import type { AdapterFiles } from './generation.ts'

/** How the engine's process is told. */
interface AdapterPort {
  /** @throws OrielError */
  load(key: string, files: AdapterFiles): Promise<void>
  /** Nobody uses it any more. */
  drop(key: string): void
  /** @param bytes of all that are loaded */
  changed(bytes: number): void
}

interface Limits {
  /** How many may be loaded at one time, and their bytes. */
  readonly maxAdapters: number
  readonly adapterBytes: number
}

/** An adapter that is loaded, or is being loaded. */
interface Loaded {
  readonly key: string
  readonly files: AdapterFiles
  ready: Promise<void>
  /** Requests that use it, or are about to. */
  users: number
  /** Whether it takes no new users, and is unloaded when the last one has left. */
  leaving: boolean
  readonly gone: Deferred<void>
}

/** A request that waits for an adapter. */
interface Waiting {
  readonly files: AdapterFiles
  readonly entered: Deferred<Loaded>
}

/**
 * The adapters of one engine. Few are loaded at one time: when another one is needed, the one that was used least recently
 * leaves, as soon as it is idle. It takes no new requests until then, so that nobody waits without end.
 */
export class KeptAdapters {
  readonly #limits: Limits
  readonly #port: AdapterPort
  /** The versions that new requests use, by their ids. */
  readonly #known = new Map<string, AdapterFiles>()
  /** By their keys, the least recently used first. */
  readonly #loaded = new Map<string, Loaded>()
  readonly #waiting = new Set<Waiting>()

  constructor(limits: Limits, port: AdapterPort) {
    this.#limits = limits
    this.#port = port
  }

  /** Loads it. Another version of it leaves when its last request is over. @throws OrielError */
  async load(files: AdapterFiles, signal?: AbortSignal): Promise<void> {
    if (fatal.has(keyOf(files))) throw endsEngines(files.id)
    this.#known.set(files.id, files)
    for (const other of this.#of(files.id)) if (other.key !== keyOf(files)) this.#dismiss(other)
    const { release } = await this.hold(files.id, signal)
    release()
  }

  /**
   * Refuses an adapter from now on, until its file changes: the process that loaded it has ended.
   * @returns what whoever waits for it is told
   */
  condemn(key: string): OrielError {
    fatal.add(key)
    const id = this.#loaded.get(key)?.files.id ?? ''
    this.#known.delete(id)
    return endsEngines(id)
  }

  /** Unloads it when its last request is over. */
  async unload(id: string): Promise<void> {
    this.#known.delete(id)
    for (const waiting of this.#waiting)
      if (waiting.files.id === id) {
        this.#waiting.delete(waiting)
        waiting.entered.reject(unloaded(id))
      }
    const all = this.#of(id)
    for (const loaded of all) this.#dismiss(loaded)
    await Promise.all(all.map(({ gone }) => gone.promise))
  }

  /**
   * Waits until it is loaded. It stays until `release` is called.
   * @throws OrielError `precondition_failed`, `cancelled`
   */
  async hold(id: string, signal?: AbortSignal): Promise<{ key: string; vision: string | null; release(): void }> {
    const files = this.#known.get(id)
    if (files === undefined) throw unloaded(id)
    const { adapterBytes } = this.#limits
    if (files.bytes > adapterBytes) throw tooLarge(files, adapterBytes)
    const loaded = await this.#enter(files, signal)
    let isHeld = true
    const release = (): void => {
      if (isHeld) this.#leave(loaded)
      isHeld = false
    }
    try {
      await (signal === undefined ? loaded.ready : orAborted(loaded.ready, signal))
      if (signal?.aborted) throw cancelled()
    } catch (error) {
      // It does not leave while it is being loaded.
      void loaded.ready.then(release, release)
      throw error
    }
    return { key: loaded.key, vision: loaded.files.vision, release }
  }

  /** The process is another one, which has none. */
  reload(): void {
    for (const loaded of this.#loaded.values()) this.#load(loaded, this.#port.load(loaded.key, loaded.files))
  }

  async #enter(files: AdapterFiles, signal: AbortSignal | undefined): Promise<Loaded> {
    const waiting: Waiting = { files, entered: deferred<Loaded>() }
    const removeListener =
      signal &&
      onAbort(signal, () => {
        if (this.#waiting.delete(waiting)) waiting.entered.reject(cancelled())
      })
    this.#waiting.add(waiting)
    this.#settle()
    return waiting.entered.promise.finally(removeListener)
  }

  /** Lets in whom it can, in their order: only those whose adapter is there may overtake one that waits for space. */
  #settle(): void {
    let isFull = false
    for (const waiting of this.#waiting) {
      const { files, entered } = waiting
      let loaded = this.#loaded.get(keyOf(files))
      if (loaded === undefined && !isFull && this.#makeSpace(files.bytes)) loaded = this.#begin(files)
      if (loaded === undefined || loaded.leaving) {
        isFull = true
        continue
      }
      this.#waiting.delete(waiting)
      this.#loaded.delete(loaded.key)
      this.#loaded.set(loaded.key, loaded)
      loaded.users++
      entered.resolve(loaded)
    }
  }

  /** @returns whether there is space now. Otherwise enough of them are leaving */
  #makeSpace(bytes: number): boolean {
    const { maxAdapters, adapterBytes } = this.#limits
    const fits = (others: readonly Loaded[]): boolean =>
      others.length < maxAdapters && others.reduce((sum, { files }) => sum + files.bytes, bytes) <= adapterBytes
    const all = () => [...this.#loaded.values()]
    for (const idle of all()) {
      if (fits(all())) return true
      if (idle.users === 0) this.#drop(idle)
    }
    if (fits(all())) return true
    for (const busy of all()) {
      if (fits(all().filter(({ leaving }) => !leaving))) break
      busy.leaving = true
    }
    return false
  }

  #begin(files: AdapterFiles): Loaded {
    const key = keyOf(files)
    const loaded: Loaded = { key, files, ready: Promise.resolve(), users: 0, leaving: false, gone: deferred<void>() }
    this.#loaded.set(key, loaded)
    this.#changed()
    this.#load(
      loaded,
      warm(files).then(() => this.#port.load(key, files)),
    )
    return loaded
  }

  #load(loaded: Loaded, ready: Promise<void>): void {
    loaded.ready = ready
    loaded.ready.catch(() => {
      // Whoever waits for it gets the error.
      if (loaded.ready !== ready || this.#loaded.get(loaded.key) !== loaded) return
      this.#drop(loaded)
      this.#settle()
    })
  }

  #leave(loaded: Loaded): void {
    loaded.users--
    if (loaded.users === 0 && loaded.leaving) this.#dismiss(loaded)
    if (loaded.users === 0) this.#settle()
  }

  #dismiss(loaded: Loaded): void {
    loaded.leaving = true
    if (loaded.users > 0 || this.#loaded.get(loaded.key) !== loaded) return
    this.#drop(loaded)
    this.#settle()
  }

  #drop(loaded: Loaded): void {
    this.#loaded.delete(loaded.key)
    this.#changed()
    this.#port.drop(loaded.key)
    loaded.gone.resolve()
  }

  #changed(): void {
    this.#port.changed([...this.#loaded.values()].reduce((sum, { files }) => sum + files.bytes, 0))
  }

  #of(id: string): Loaded[] {
    return [...this.#loaded.values()].filter(({ files }) => files.id === id)
  }
}

/** Adapters that ended the process which loaded them, by their keys. No engine of this server gets them again. */
const fatal = new Set<string>()

const keyOf = ({ id, version }: AdapterFiles): string => JSON.stringify([id, version])

/** Reads the file once: the engine, whose steps wait while it reads it, finds it in memory then. */
async function warm({ decoder }: AdapterFiles): Promise<void> {
  if (decoder === null) return
  // What is wrong with it is told by the engine.
  const stream = createReadStream(decoder, { highWaterMark: 1 << 20 }).on('error', () => {})
  try {
    for await (const _ of stream);
  } catch {}
}

const endsEngines = (id: string): OrielError =>
  new OrielError(
    'precondition_failed',
    `The adapter ${id} cannot be used: an engine ended while it loaded it. It is refused until its file changes.`,
    { param: 'model', code: 'adapter_unusable' },
  )

const unloaded = (id: string): OrielError =>
  new OrielError('precondition_failed', `The adapter ${id} is not loaded.`, {
    param: 'model',
    code: 'adapter_not_loaded',
  })

const tooLarge = ({ id, bytes }: AdapterFiles, most: number): OrielError =>
  new OrielError(
    'precondition_failed',
    `The adapter ${id} takes ${bytesText(bytes)}; all adapters of a model together may take ${bytesText(most)}.`,
    { param: 'model', code: 'adapter_not_loaded' },
  )
