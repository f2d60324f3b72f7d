import type { Decoder } from '../language/index.ts'
import type { Cores } from './cores.ts'
import type { ImageEncoder } from './image-encoder.ts'
import type { Pass } from './step-batch.ts'

/** Runs passes on the decoder, with the threads that are fastest beside the encoder. */
export class StepRunner {
  readonly #decoder: Pick<Decoder, 'setThreads' | 'decode'>
  readonly #encoder: Pick<ImageEncoder, 'busy' | 'giveWay'> | null
  readonly #cores: Cores
  readonly #started: () => void

  /** @param started called when a pass is running: what the last step emitted is sent meanwhile */
  constructor(
    decoder: Pick<Decoder, 'setThreads' | 'decode'>,
    encoder: Pick<ImageEncoder, 'busy' | 'giveWay'> | null,
    cores: Cores,
    started: () => void,
  ) {
    this.#decoder = decoder
    this.#encoder = encoder
    this.#cores = cores
    this.#started = started
  }

  /** Whether the encoder is using cores. */
  get contended(): boolean {
    return this.#encoder?.busy ?? false
  }

  /**
   * @param prefills whether the step has prefill rows
   * @returns false if the KV memory has no room for the pass, which has changed nothing then
   */
  async run({ batch, rows, mutual }: Pass, prefills: boolean): Promise<boolean> {
    const { contended } = this
    const threads = this.#cores.forDecoding(contended && !prefills, rows)
    this.#decoder.setThreads(threads)
    this.#encoder?.giveWay(true)
    const start = performance.now()
    const decoding = this.#decoder.decode(batch, mutual)
    this.#started()
    const done = await decoding
    if (done && !contended) this.#cores.decoded(threads, rows, performance.now() - start)
    return done
  }

  /** The next step is not due yet: the encoder may use all cores. */
  idle(): void {
    this.#encoder?.giveWay(false)
  }
}
