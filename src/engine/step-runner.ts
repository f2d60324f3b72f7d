import type { Decoder, UsedAdapter } from '../language/index.ts'
import type { Cores } from './cores.ts'
import type { AttachmentEncoder } from './encoder.ts'
import type { Pass } from './step-batch.ts'

export type StepRunner = ReturnType<typeof stepRunner>

/**
 * Runs passes on the decoder, with the threads that are fastest beside the encoder.
 * @param started called when a pass is running: what the last step emitted is sent meanwhile
 */
export function stepRunner(
  decoder: Pick<Decoder, 'setThreads' | 'decode'>,
  encoder: Pick<AttachmentEncoder, 'busy' | 'giveWay'> | null,
  cores: Cores,
  started: () => void,
) {
  /** Whether the encoder is using cores. */
  const contended = (): boolean => encoder?.busy ?? false
  let last: UsedAdapter | null = null
  return {
    contended,
    /**
     * @param prefills whether the step has prefill rows
     * @param adapter what it is computed with; null: the model alone
     * @returns false if the KV memory has no space for the pass, which has changed nothing then
     */
    async run({ batch, rows, mutual }: Pass, prefills: boolean, adapter: UsedAdapter | null = null): Promise<boolean> {
      const shared = contended()
      const threads = cores.forDecoding(shared && !prefills, rows)
      decoder.setThreads(threads, shared)
      encoder?.giveWay(true)
      const start = performance.now()
      const decoding = decoder.decode(batch, mutual, adapter)
      started()
      const done = await decoding
      // A change of adapters takes time of its own.
      const isUsual = isSame(adapter, last) && !shared
      if (done && isUsual) cores.decoded(threads, rows, performance.now() - start)
      last = adapter
      return done
    },
    /** The next step is not due yet: the encoder may use all cores. */
    idle: (): void => encoder?.giveWay(false),
  }
}

const isSame = (one: UsedAdapter | null, other: UsedAdapter | null): boolean =>
  one?.adapter === other?.adapter && one?.scale === other?.scale
