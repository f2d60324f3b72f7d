import type { TensorPlan } from '../../../support/gguf-file.ts'
import { writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { bias, linear, matrix, norm } from '../weights.ts'

const width = 64
const bands = 32
const channels = 24

const convolution = (index: number, inputs: number): TensorPlan[] => [
  { name: `a.conv2d.${index}.weight`, shape: [3, 3, inputs, channels], fill: { exact: 1 / Math.sqrt(9 * inputs) } },
  bias(`a.conv2d.${index}.bias`, channels),
]

export const qwen3a: Family = {
  name: 'qwen3a',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: ['<|audio_start|>', '<|audio_end|>'] })
    writeAudio(projector, {
      ...{ type: 'qwen3a', width, bands },
      tensors: [
        ...convolution(1, 1),
        ...convolution(2, channels),
        ...convolution(3, channels),
        matrix('a.conv_out.weight', (channels * bands) / 8, width),
        { name: 'a.position_embd.weight', shape: [width, 100], fill: { exact: 0.3 } },
        ...norm('a.post_ln', width),
        ...linear('mm.a.mlp.1', width, width),
        ...linear('mm.a.mlp.2', width, textWidth),
      ],
    })
  },
}
