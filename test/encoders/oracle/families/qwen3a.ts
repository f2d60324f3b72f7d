import type { TensorPlan } from '../../../support/gguf-file.ts'
import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { type AudioPlan, audioHalf, writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { numbers, sized, soundWidth } from '../tower.ts'
import { bias, linear, matrix, norm } from '../weights.ts'
import { writeQwen3Encoders } from './qwen.ts'

const width = soundWidth(64)
const bands = sized(32, 128)
const channels = sized(24, 480)

const convolution = (index: number, inputs: number): TensorPlan[] => [
  { name: `a.conv2d.${index}.weight`, shape: [3, 3, inputs, channels], fill: numbers(1 / Math.sqrt(9 * inputs)) },
  bias(`a.conv2d.${index}.bias`, channels),
]

const specials = ['<|audio_start|>', '<|audio_end|>']

const plan: AudioPlan = {
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
}

export const qwen3a: Family = {
  name: 'qwen3a',
  write(decoder, projector) {
    writeDecoder(decoder, { specials })
    writeAudio(projector, plan)
  },
}

/** A file of both halves, over a decoder with experts. */
export const qwen3Omni: Family = {
  name: 'qwen3-omni',
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'qwen3vlmoe', { specials: ['<|vision_start|>', '<|vision_end|>', ...specials] })
    writeQwen3Encoders(projector, audioHalf(plan))
  },
}
