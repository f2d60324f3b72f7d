import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, linear, ones } from '../weights.ts'

const [patch, factor, inner] = [16, 2, 96]

export const hunyuanvl: Family = {
  name: 'hunyuanvl',
  write(decoder, vision) {
    writeDecoder(decoder, {
      architecture: 'hunyuan_vl',
      layers: 2,
      specials: ['<｜hy_place▁holder▁no▁100｜>', '<｜hy_place▁holder▁no▁101｜>', '<｜hy_place▁holder▁no▁102｜>'],
      metadata: { 'hunyuan_vl.rope.dimension_sections': { i32: [2, 2, 2, 2] } },
      more: (layer) => ['attn_q_norm', 'attn_k_norm'].map((name) => ones(`blk.${layer}.${name}.weight`, textWidth / 2)),
    })
    writeVision(vision, {
      ...{ type: 'hunyuanvl', edge: 2048, patch },
      metadata: {
        'clip.vision.spatial_merge_size': { u32: factor },
        'clip.vision.image_min_pixels': { u32: 16 * 32 ** 2 },
        'clip.vision.image_max_pixels': { u32: 1024 * 32 ** 2 },
      },
      tensors: [
        ...learnedPositions(8 ** 2),
        ones('mm.pre_norm.weight', towerWidth),
        { name: 'mm.0.weight', shape: [factor, factor, towerWidth, inner], fill: { exact: 1 / 16 } },
        bias('mm.0.bias', inner),
        { name: 'mm.2.weight', shape: [1, 1, inner, 2 * inner], fill: { exact: 0.1 } },
        bias('mm.2.bias', 2 * inner),
        bias('v.image_newline', 2 * inner),
        ...linear('mm.model.fc', 2 * inner, textWidth),
        bias('mm.image_begin', textWidth),
        bias('mm.image_end', textWidth),
        ones('mm.post_norm.weight', textWidth),
      ],
    })
  },
}
