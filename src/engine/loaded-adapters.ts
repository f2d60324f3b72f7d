import { deferred } from '../deferred.ts'
import { OrielError } from '../errors.ts'
import type { Adapter, Decoder } from '../language/index.ts'

/** The adapters that the decoder has. They come and go between two steps, since all steps compute with the same decoder. */
export class LoadedAdapters {
  readonly #decoder: Pick<Decoder, 'loadAdapter' | 'freeAdapter'>
  /** By the keys that requests name; null: it has nothing for the decoder. */
  readonly #loaded = new Map<string, Adapter | null>()
  /** Keys of those that are being loaded. */
  readonly #coming = new Set<string>()
  readonly #changes: (() => Promise<void>)[] = []
  readonly #wake: () => void

  /** @param wake called when there is something to settle */
  constructor(decoder: Pick<Decoder, 'loadAdapter' | 'freeAdapter'>, wake: () => void) {
    this.#decoder = decoder
    this.#wake = wake
  }

  get size(): number {
    return this.#loaded.size
  }

  /** Whether it will be loaded soon. */
  isComing(key: string): boolean {
    return this.#coming.has(key)
  }

  /** @returns null if it changes nothing in the decoder @throws OrielError `precondition_failed` if it is not loaded */
  of(key: string): Adapter | null {
    const adapter = this.#loaded.get(key)
    if (adapter === undefined) throw notLoaded()
    return adapter
  }

  /**
   * Loads it before the next step.
   * @param file null: it has nothing for the decoder
   * @param onEnter called before native code reads the file
   * @throws OrielError `precondition_failed`
   */
  load(key: string, file: string | null, onEnter: () => void = () => {}): Promise<void> {
    this.#coming.add(key)
    return this.#change(async () => {
      if (this.#loaded.has(key)) return
      if (file !== null) onEnter()
      this.#loaded.set(key, file === null ? null : await this.#decoder.loadAdapter(file))
    }).finally(() => this.#coming.delete(key))
  }

  /** Frees it before the next step. No request uses it any more. */
  drop(key: string): void {
    void this.#change(async () => {
      const adapter = this.#loaded.get(key)
      this.#loaded.delete(key)
      if (adapter) this.#decoder.freeAdapter(adapter)
    })
  }

  /**
   * Carries out what was asked for. Not to be called during a step. What comes while an adapter is loaded waits for the next
   * time: a request that was cancelled meanwhile still has a sequence, which the next step must not compute with a freed one.
   */
  async settle(): Promise<void> {
    for (const change of this.#changes.splice(0)) await change()
  }

  #change(work: () => Promise<void>): Promise<void> {
    const { promise, resolve, reject } = deferred<void>()
    this.#changes.push(() => work().then(resolve, reject))
    this.#wake()
    return promise
  }
}

const notLoaded = (): OrielError =>
  new OrielError('precondition_failed', 'The adapter is not loaded.', { param: 'model', code: 'adapter_not_loaded' })
