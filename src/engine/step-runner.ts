import type { Decoder } from '../language/index.ts'
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
  return {
    contended,
    /**
     * @param prefills whether the step has prefill rows
     * @returns false if the KV memory has no space for the pass, which has changed nothing then
     */
    async run({ batch, rows, mutual }: Pass, prefills: boolean): Promise<boolean> {
      const shared = contended()
      const threads = cores.forDecoding(shared && !prefills, rows)
      decoder.setThreads(threads, shared)
      encoder?.giveWay(true)
      const start = performance.now()
      const decoding = decoder.decode(batch, mutual)
      started()
      const done = await decoding
      if (done && !shared) cores.decoded(threads, rows, performance.now() - start)
      return done
    },
    /** The next step is not due yet: the encoder may use all cores. */
    idle: (): void => encoder?.giveWay(false),
  }
}
