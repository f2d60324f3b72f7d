import { expect, it } from 'vitest'
import { audioHalf } from '../../src/encoders/audio-encoder.ts'
import { openTensors } from '../../src/encoders/graph/tensor-file.ts'
import { openTrial } from '../../src/encoders/graph/trial.ts'
import { needAudioArchitecture } from '../../src/encoders/index.ts'
import { openNative } from '../../src/native/index.ts'
import { openFiles } from './oracle/files.ts'
import { hearing } from './oracle/hearing.ts'

/** Rows of layers for the 800 frames of a calibration, and of the distances that two rows can have. */
const told = [
  { name: 'gemma4a', layers: 200, distances: 13 },
  { name: 'lfm2a', layers: 100, distances: 199 },
  { name: 'qwen3a', layers: 104 },
  { name: 'ultravox', layers: 400 },
]

it.each(told)('a trial of $name tells the $layers rows of its products', async ({ name, layers, distances }) => {
  const family = hearing.find((family) => family.name === name)
  if (family === undefined) throw new Error(`no family ${name}`)
  const { projector, remove } = openFiles(family)
  const half = audioHalf(await needAudioArchitecture(projector))
  const { ggml } = openNative('cpu')
  const tensors = openTensors(ggml, projector, half.modality)
  const trial = await openTrial(tensors, half, null, 1)
  if (trial === null) throw new Error('ONNX Runtime cannot be loaded')
  const { rows } = await trial.run(half.sample(1), new Float32Array(3 * trial.matrices.length))
  await trial.release()
  tensors.close()
  ggml.free(tensors.context)
  remove()
  const ofDistances = /linear_pos|attn_k_rel/
  expect([...rows]).toEqual(trial.matrices.map(({ name }) => (ofDistances.test(name) ? distances : layers)))
})
