import type { TensorPlan } from '../../../support/gguf-file.ts'
import { writeAudio } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { headsOf, sized } from '../tower.ts'
import { bias, linear, norm } from '../weights.ts'

/** The only width that libmtmd makes positions for. */
const width = 512
const [heads, bands, channels] = [headsOf(width), sized(32, 128), sized(8, 256)]

const convolution = (index: number, size: number, inputs: number): TensorPlan[] => [
  {
    name: `a.conv1d.${index}.weight`,
    shape: [size, size, inputs, channels],
    fill: { exact: 1 / Math.sqrt(size * size * inputs) },
  },
  { name: `a.conv1d.${index}.bias`, shape: [1, 1, channels], fill: { exact: 0.1 } },
]

export const lfm2a: Family = {
  name: 'lfm2a',
  lengths: [330, 16_000, 100_001, 479_840],
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeAudio(projector, {
      ...{ type: 'lfm2a', width, bands, isOther: true, more },
      tensors: [
        ...convolution(0, 3, 1),
        ...convolution(2, 3, 1),
        ...convolution(3, 1, channels),
        ...convolution(5, 3, 1),
        ...convolution(6, 1, channels),
        ...linear('a.pre_encode.out', (channels * bands) / 8, width),
        // libmtmd reads the width of embeddings from it, and bounds the length of sounds.
        { name: 'a.position_embd.weight', shape: [textWidth, 4000], fill: { exact: 0.1 } },
        ...norm('mm.a.mlp.0', width),
        ...linear('mm.a.mlp.1', width, 64),
        ...linear('mm.a.mlp.3', 64, textWidth),
      ],
    })
  },
}

function more(part: (name: string) => string): TensorPlan[] {
  const products = ['attn_q', 'attn_k', 'attn_v', 'attn_out', 'conv_pw2']
  return [
    ...['ffn_norm', 'ffn_norm_1', 'ln1', 'ln2', 'norm_conv', 'conv_norm'].flatMap((name) => norm(part(name), width)),
    ...products.flatMap((name) => linear(part(name), width, width)),
    ...linear(part('conv_pw1'), width, 2 * width),
    ...['', '_1'].flatMap((end) => [
      ...linear(part(`ffn_up${end}`), width, 2 * width),
      ...linear(part(`ffn_down${end}`), 2 * width, width),
    ]),
    ...linear(part('linear_pos'), width, width).slice(0, 1),
    ...['u', 'v'].map(
      (name): TensorPlan => ({
        name: part(`pos_bias_${name}`),
        shape: [width / heads, heads],
        fill: { exact: 0.3 },
      }),
    ),
    { name: part('conv_dw.weight'), shape: [9, width], fill: { exact: 0.3 } },
    bias(part('conv_dw.bias'), width),
  ]
}
