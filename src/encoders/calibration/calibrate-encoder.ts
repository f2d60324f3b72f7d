import { OrielError } from '../../errors.ts'
import { openNative } from '../../native/index.ts'
import { audioHalf, needAudioArchitecture } from '../audio-encoder.ts'
import type { EncoderSettings } from '../encoder.ts'
import { ggmlGraphs } from '../graph/ggml.ts'
import type { Half, Modality, Sample } from '../graph/source.ts'
import { openTensors } from '../graph/tensor-file.ts'
import { openTrial, type Trial } from '../graph/trial.ts'
import { WeightCache } from '../graph/weight-cache.ts'
import { loadWeights } from '../graph/weights.ts'
import { imageHalf, needImageArchitecture } from '../image-encoder.ts'
import { calibrate } from './calibrate.ts'
import { productCosts } from './costs.ts'
import { type Choice, keepChoice } from './kept.ts'

/**
 * Chooses the forms of an encoder's matrices for this machine, and keeps the choice for its next load. It takes some minutes
 * of computing, so it is for a process of its own.
 * @param turn called before each run of some hundred ms; it resolves when the run may begin
 * @param modality the half of the file that the encoder is
 * @throws OrielError as `openImageEncoder` and `openAudioEncoder` do
 */
export const calibrateEncoder = async (
  file: string,
  settings: CalibrationSettings,
  turn: () => Promise<void>,
  modality: Modality = 'vision',
): Promise<Choice> =>
  modality === 'vision'
    ? calibrateHalf(file, imageHalf(await needImageArchitecture(file)), settings, turn)
    : calibrateHalf(file, audioHalf(await needAudioArchitecture(file)), settings, turn)

type CalibrationSettings = Pick<EncoderSettings, 'threads' | 'cache'>

async function calibrateHalf<Part>(
  file: string,
  half: Half<Part>,
  { threads, cache: kept }: CalibrationSettings,
  turn: () => Promise<void>,
): Promise<Choice> {
  const { ggml } = openNative('cpu')
  const cache = kept ? WeightCache.of(file, kept) : null

  /** The weights are in memory only for this one run. */
  const inGgml = async ({ values, part }: Sample<Part>): Promise<Float32Array> => {
    const tensors = openTensors(ggml, file, half.modality)
    try {
      const cpu = ggml.initCpu()
      if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
      const weights = loadWeights(ggml, tensors, [cpu])
      const graphs = ggmlGraphs(ggml, weights, half)
      const embeddings = await graphs.run(values, part, threads)
      graphs.free()
      weights.free()
      return embeddings
    } finally {
      tensors.close()
    }
  }

  const openOwnTrial = async (): Promise<Trial<Part>> => {
    const tensors = openTensors(ggml, file, half.modality)
    try {
      const trial = await openTrial(tensors, half, cache, threads)
      if (trial === null) throw new OrielError('internal', 'ONNX Runtime cannot be loaded.')
      return trial
    } finally {
      tensors.close()
      ggml.free(tensors.context)
    }
  }

  const choice = await calibrate({ half, inGgml, openTrial: openOwnTrial, costs: productCosts(threads), turn })
  if (cache !== null) keepChoice(cache, half.modality, threads, choice)
  return choice
}
