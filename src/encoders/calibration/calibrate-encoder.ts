import { OrielError } from '../../errors.ts'
import { openNative } from '../../native/index.ts'
import { ggmlGraphs } from '../graph/ggml.ts'
import { openTensors } from '../graph/tensor-file.ts'
import { openTrial, type Trial } from '../graph/trial.ts'
import { WeightCache } from '../graph/weight-cache.ts'
import { loadWeights } from '../graph/weights.ts'
import { type EncoderSettings, openImageArchitecture } from '../image-encoder.ts'
import { calibrate, type Sample } from './calibrate.ts'
import { productCosts } from './costs.ts'
import { type Choice, keepChoice } from './kept.ts'

/**
 * Chooses the forms of an encoder's matrices for this machine, and keeps the choice for its next load. It takes some minutes
 * of computing, so it is for a process of its own.
 * @param turn called before each run of some hundred ms; it resolves when the run may begin
 * @throws OrielError as `openImageEncoder` does
 */
export async function calibrateEncoder(
  file: string,
  { threads, cache: kept }: Pick<EncoderSettings, 'threads' | 'cache'>,
  turn: () => Promise<void>,
): Promise<Choice> {
  const architecture = await openImageArchitecture(file)
  const { ggml } = openNative('cpu')
  const cache = kept ? WeightCache.of(file, kept) : null

  /** The weights are in memory only for this one run. */
  const inGgml = async ({ values, tile }: Sample): Promise<Float32Array> => {
    const tensors = openTensors(ggml, file)
    try {
      const cpu = ggml.initCpu()
      if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
      const weights = loadWeights(ggml, tensors, [cpu])
      const graphs = ggmlGraphs(ggml, weights, architecture)
      const embeddings = await graphs.run(values, tile, threads)
      graphs.free()
      weights.free()
      return embeddings
    } finally {
      tensors.close()
    }
  }

  const openOwnTrial = async (): Promise<Trial> => {
    const tensors = openTensors(ggml, file)
    try {
      const trial = await openTrial(tensors, architecture, cache, threads)
      if (trial === null) throw new OrielError('internal', 'ONNX Runtime cannot be loaded.')
      return trial
    } finally {
      tensors.close()
      ggml.free(tensors.context)
    }
  }

  const choice = await calibrate({ architecture, inGgml, openTrial: openOwnTrial, costs: productCosts(threads), turn })
  if (cache !== null) keepChoice(cache, threads, choice)
  return choice
}
