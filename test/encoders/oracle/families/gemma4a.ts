import type { TensorPlan } from '../../../support/gguf-file.ts'
import { type AudioPlan, audioHalf, writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { headsOf, sized, soundWidth } from '../tower.ts'
import { matrix, ones } from '../weights.ts'
import { boundsOf, writeGemma4 } from './gemma4.ts'

const specials = ['<|audio>', '<audio|>']

/** 12B: it has no tower. */
export const gemma4ua: Family = {
  name: 'gemma4ua',
  isExact: true,
  write(decoder, projector) {
    writeDecoder(decoder, { specials })
    const tensors = [matrix('mm.a.input_projection.weight', 640, textWidth)]
    writeAudio(projector, { ...{ type: 'gemma4ua', width: 64, bands: 128, layers: 0 }, tensors })
  },
}

const [width, bands] = [soundWidth(64), sized(32, 128)]
const heads = headsOf(width)
const channels = sized([12, 8], [128, 32]) as [number, number]

const plan = (): AudioPlan => ({
  ...{ type: 'gemma4a', width, bands, isOther: true, more },
  tensors: [
    ...convolution(0, 1, channels[0]),
    ...convolution(1, channels[0], channels[1]),
    matrix('a.input_projection.weight', (channels[1] * bands) / 4, width),
    matrix('a.pre_encode.out.weight', width, 48),
    { name: 'a.pre_encode.out.bias', shape: [48], fill: { exact: 0.1 } },
    matrix('mm.a.input_projection.weight', 48, textWidth),
    ...boundsOf('mm.a.input_projection'),
  ],
})

/** E2B and E4B: products are bounded, and so are scores. */
export const gemma4a: Family = {
  name: 'gemma4a',
  write(decoder, projector) {
    writeDecoder(decoder, { specials })
    writeAudio(projector, plan())
  },
}

/** A file of both halves. */
export const gemma4Hearing: Family = {
  name: 'gemma4-hearing',
  write: (decoder, projector) => writeGemma4(decoder, projector, audioHalf(plan())),
}

const convolution = (index: number, inputs: number, outputs: number): TensorPlan[] => [
  { name: `a.conv1d.${index}.weight`, shape: [3, 3, inputs, outputs], fill: { exact: 1 / Math.sqrt(9 * inputs) } },
  ones(`a.conv1d.${index}.norm.weight`, outputs),
]

function more(part: (name: string) => string): TensorPlan[] {
  const norms = ['ffn_norm', 'ffn_post_norm', 'ffn_norm_1', 'ffn_post_norm_1', 'attn_pre_norm', 'attn_post_norm']
  const squares = ['attn_q', 'attn_k', 'attn_v', 'attn_out', 'conv_pw2'].map((name) => [name, width, width] as const)
  const matrices = [
    ...squares,
    ['conv_pw1', width, 2 * width] as const,
    ...['', '_1'].flatMap((end) => [
      [`ffn_up${end}`, width, 2 * width] as const,
      [`ffn_down${end}`, 2 * width, width] as const,
    ]),
  ]
  return [
    ...[...norms, 'conv_norm', 'norm_conv', 'ln1', 'ln2'].map((name) => ones(`${part(name)}.weight`, width)),
    ...matrices.flatMap(([name, inputs, outputs]) => [
      matrix(`${part(name)}.weight`, inputs, outputs),
      ...boundsOf(part(name)),
    ]),
    matrix(`${part('attn_k_rel')}.weight`, width, width),
    ...['per_dim_scale', 'per_dim_k_scale'].map((name) => ones(`${part(name)}.weight`, width / heads)),
    { name: `${part('conv_dw')}.weight`, shape: [5, width], fill: { exact: 0.4 } },
  ]
}
