import { writeGguf } from '../../../support/gguf-file.ts'
import { decoderOf, width } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, linear, matrix, norm, ones, patches } from '../weights.ts'

const [edge, patch, joined] = [112, 14, 4 * towerWidth]

/** Heads of keys and of values in a layer of linear attention, and their size. */
const [keyHeads, valueHeads, state, kernel] = [1, 2, 16, 4]
const [keyWidth, valueWidth] = [keyHeads * state, valueHeads * state]

/** A layer of linear attention with a state, before one of attention with a gate. */
export function writeQwen35Decoder(file: string, specials: readonly string[]): void {
  const name = 'qwen35'
  const { metadata, tensors } = decoderOf({
    architecture: name,
    layers: 2,
    specials,
    metadata: {
      [`${name}.rope.dimension_sections`]: { i32: [3, 3, 2, 0] },
      [`${name}.attention.key_length`]: { u32: width / 2 },
      [`${name}.attention.value_length`]: { u32: width / 2 },
      [`${name}.full_attention_interval`]: { u32: 2 },
      [`${name}.ssm.conv_kernel`]: { u32: kernel },
      [`${name}.ssm.inner_size`]: { u32: valueWidth },
      [`${name}.ssm.state_size`]: { u32: state },
      [`${name}.ssm.time_step_rank`]: { u32: valueHeads },
      [`${name}.ssm.group_count`]: { u32: keyHeads },
    },
    more: (layer) => [
      ones(`blk.${layer}.post_attention_norm.weight`, width),
      ...(layer === 0
        ? [
            matrix('blk.0.attn_qkv.weight', width, 2 * keyWidth + valueWidth),
            matrix('blk.0.attn_gate.weight', width, valueWidth),
            matrix('blk.0.ssm_conv1d.weight', kernel, 2 * keyWidth + valueWidth),
            bias('blk.0.ssm_dt.bias', valueHeads),
            bias('blk.0.ssm_a', valueHeads),
            matrix('blk.0.ssm_beta.weight', width, valueHeads),
            matrix('blk.0.ssm_alpha.weight', width, valueHeads),
            ones('blk.0.ssm_norm.weight', state),
            matrix('blk.0.ssm_out.weight', valueWidth, width),
          ]
        : [
            matrix('blk.1.attn_q.weight', width, 2 * width),
            ones('blk.1.attn_q_norm.weight', width / 2),
            ones('blk.1.attn_k_norm.weight', width / 2),
          ]),
    ],
  })
  const own = tensors.filter(
    ({ name, shape }) =>
      !/^blk\.0\.attn_(q|k|v|output)\.|ffn_norm/.test(name) && !(name === 'blk.1.attn_q.weight' && shape[1] === width),
  )
  writeGguf(file, metadata, own, 1)
}

export const qwen35: Family = {
  name: 'qwen3.5',
  write(decoder, vision) {
    writeQwen35Decoder(decoder, ['<|vision_start|>', '<|vision_end|>', '<|image_pad|>'])
    writeVision(vision, {
      type: 'qwen3vl_merger',
      edge,
      patch,
      layers: 2,
      fused: true,
      metadata: { 'clip.vision.spatial_merge_size': { u32: 2 } },
      tensors: [
        patches('v.patch_embd.weight.1', patch, towerWidth),
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...linear('mm.0', joined, joined),
        ...linear('mm.2', joined, width),
      ],
    })
  },
}
