import type { TensorPlan } from '../../../support/gguf-file.ts'
import { audioHalf, writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { numbers, sized, soundWidth } from '../tower.ts'
import { linear, matrix, norm, ones } from '../weights.ts'
import { writeQwen25o } from './qwen.ts'

/** libmtmd stacks rows only if a stack is not a power of two, as in Whisper, which is 1280 wide. */
const width = soundWidth(80)
const bands = sized(80, 128)
const frames = 3000

const convolution = (index: number, inputs: number): TensorPlan[] => [
  { name: `a.conv1d.${index}.weight`, shape: [3, inputs, width], fill: numbers(1 / Math.sqrt(3 * inputs)) },
  { name: `a.conv1d.${index}.bias`, shape: [1, width], fill: { exact: 0.1 } },
]

const tower: TensorPlan[] = [
  ...convolution(1, bands),
  ...convolution(2, width),
  { name: 'a.position_embd.weight', shape: [width, frames / 2], fill: { exact: 0.3 } },
  ...norm('a.post_ln', width),
]

interface WhisperPlan {
  name: string
  /** Rows of a stack. */
  stack?: number
  specials?: readonly string[]
  projector: readonly TensorPlan[]
}

const audioOf = ({ name: type, stack, projector }: WhisperPlan) => ({
  ...{ type, width, bands },
  ...(stack && { metadata: { 'clip.audio.projector.stack_factor': { u32: stack } } }),
  tensors: [...tower, ...projector],
})

const whisper = (plan: WhisperPlan): Family => ({
  name: plan.name,
  write(decoder, projector) {
    writeDecoder(decoder, { specials: plan.specials ?? [] })
    writeAudio(projector, audioOf(plan))
  },
})

export const ultravox = whisper({
  name: 'ultravox',
  stack: 8,
  projector: [
    ones('mm.a.norm_pre.weight', 8 * width),
    matrix('mm.a.mlp.1.weight', 8 * width, 96),
    ones('mm.a.norm_mid.weight', 48),
    matrix('mm.a.mlp.2.weight', 48, textWidth),
  ],
})

export const voxtral = whisper({
  name: 'voxtral',
  stack: 4,
  specials: ['[BEGIN_AUDIO]'],
  projector: [matrix('mm.a.mlp.1.weight', 4 * width, 96), matrix('mm.a.mlp.2.weight', 96, textWidth)],
})

export const musicflamingo = whisper({
  name: 'musicflamingo',
  specials: ['<sound>'],
  projector: [...linear('mm.a.mlp.1', width, 96), ...linear('mm.a.mlp.2', 96, textWidth)],
})

export const qwen2a = whisper({
  name: 'qwen2a',
  specials: ['<|audio_bos|>', '<|audio_eos|>'],
  projector: linear('mm.a.fc', width, textWidth),
})

/** A file of both halves, which see and hear. */
export const qwen25oHearing: Family = {
  name: 'qwen2.5o-audio',
  write: (decoder, projector) =>
    writeQwen25o(decoder, projector, {
      specials: ['<|audio_bos|>', '<|audio_eos|>'],
      audio: audioHalf(audioOf({ name: 'qwen2.5o', projector: linear('mm.a.fc', width, textWidth) })),
    }),
}

export const meralion = whisper({
  name: 'meralion',
  stack: 15,
  projector: [
    ...norm('mm.a.norm_pre', 15 * width),
    ...linear('mm.a.mlp.0', 15 * width, 96),
    ...linear('mm.a.mlp.1', 96, 96),
    ...linear('mm.a.mlp.2', 96, 96),
    ...linear('mm.a.mlp.3', 96, textWidth),
  ],
})

export const glma = whisper({
  name: 'glma',
  stack: 4,
  projector: [
    ...norm('mm.a.norm_pre', width),
    ...linear('mm.a.mlp.1', 4 * width, 96),
    ...linear('mm.a.mlp.2', 96, textWidth),
    ...['v.boi', 'v.eoi'].map((name): TensorPlan => ({ name, shape: [textWidth], fill: { exact: 1 } })),
  ],
})
