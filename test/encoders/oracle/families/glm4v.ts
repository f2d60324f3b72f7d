import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { headWidth, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, matrix, norm, ones, patches } from '../weights.ts'

const [edge, patch, factor] = [112, 14, 2]

const write =
  (readsPages: boolean): Family['write'] =>
  (decoder, vision) => {
    writeDecoder(decoder, {
      architecture: 'glm4',
      layers: 2,
      specials: ['<|begin_of_image|>', '<|end_of_image|>', '<|image|>'],
      metadata: { 'glm4.rope.dimension_sections': { i32: [2, 3, 3, 0] } },
      fused: true,
      more: (layer) =>
        ['post_attention_norm', 'post_ffw_norm'].map((name) => ones(`blk.${layer}.${name}.weight`, textWidth)),
    })
    writeVision(vision, {
      ...{ type: 'glm4v', edge, patch, layers: 2, norms: 'rms', biased: readsPages, fused: true, gated: true },
      more: (part) =>
        (readsPages ? ['attn_q_norm', 'attn_k_norm'] : []).map((name) => ones(`${part(name)}.weight`, headWidth)),
      metadata: { 'clip.vision.spatial_merge_size': { u32: factor } },
      tensors: [
        patches('v.patch_embd.weight.1', patch, towerWidth),
        ...(readsPages
          ? [bias('v.patch_embd.bias', towerWidth)]
          : [...learnedPositions(24 ** 2), ones('v.norm_embd.weight', towerWidth)]),
        ones('v.post_ln.weight', towerWidth),
        { name: 'mm.patch_merger.weight', shape: [factor, factor, towerWidth, textWidth], fill: { exact: 1 / 16 } },
        bias('mm.patch_merger.bias', textWidth),
        matrix('mm.model.fc.weight', textWidth, textWidth),
        ...norm('mm.post_norm', textWidth),
        ...['mm.gate', 'mm.up'].map((name) => matrix(`${name}.weight`, textWidth, 2 * textWidth)),
        matrix('mm.down.weight', 2 * textWidth, textWidth),
      ],
    })
  }

export const glm4v: Family = { name: 'glm4v', write: write(false) }
export const glmocr: Family = { name: 'glm4v-ocr', write: write(true) }
