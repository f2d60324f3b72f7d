import { type TensorPlan, writeGguf } from '../../../support/gguf-file.ts'
import { decoderOf, width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { linear, matrix, norm, ones } from '../weights.ts'

const [edge, patch, factor] = [256, 16, 2]

const specials = [
  '<|image_start|>',
  '<|image_end|>',
  '<|img_thumbnail|>',
  ...Array.from({ length: 100 }, (_, i) => `<|img_row_${Math.floor(i / 10) + 1}_col_${(i % 10) + 1}|>`),
]

/** A convolution layer before an attention layer, as in LFM2: the decoder keeps a state in addition to the KV memory. */
function writeDecoder(file: string): void {
  const { metadata, tensors } = decoderOf({
    architecture: 'lfm2',
    layers: 2,
    specials,
    metadata: { 'lfm2.attention.head_count_kv': { i32: [0, 2] }, 'lfm2.shortconv.l_cache': { u32: 3 } },
    more: (layer) =>
      layer === 0
        ? [
            matrix('blk.0.shortconv.conv.weight', 3, textWidth),
            matrix('blk.0.shortconv.in_proj.weight', textWidth, 3 * textWidth),
            matrix('blk.0.shortconv.out_proj.weight', textWidth, textWidth),
          ]
        : [ones('blk.1.attn_q_norm.weight', textWidth / 2), ones('blk.1.attn_k_norm.weight', textWidth / 2)],
  })
  const named = ({ name, ...plan }: TensorPlan): TensorPlan => ({
    ...plan,
    name: name === 'output_norm.weight' ? 'token_embd_norm.weight' : name,
  })
  const own = tensors.filter(({ name }) => !/^blk\.0\.attn_(q|k|v|output)\./.test(name))
  writeGguf(file, metadata, own.map(named), 1)
}

export const lfm2: Family = {
  name: 'lfm2',
  write(decoder, projector) {
    writeDecoder(decoder)
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      type: 'lfm2',
      edge,
      patch,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...norm('mm.input_norm', joined),
        ...linear('mm.1', joined, towerWidth),
        ...linear('mm.2', towerWidth, textWidth),
      ],
    })
  },
}
