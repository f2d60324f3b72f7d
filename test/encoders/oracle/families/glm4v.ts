import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { headWidth, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, matrix, norm, ones, patches } from '../weights.ts'

const [edge, patch, factor] = [112, 14, 2]

/** The convolution of each of two frames. */
const convolutions = ['v.patch_embd.weight', 'v.patch_embd.weight.1'] as const

/** @param seen the only frame of two that its convolution does not multiply by zero */
const write =
  (readsPages: boolean, seen?: 0 | 1): Family['write'] =>
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
        ...convolutions.map((name, frame) => ({
          ...patches(name, patch, towerWidth),
          ...(seen !== undefined && frame !== seen && { fill: { constant: 0 } }),
        })),
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
/** It sees one frame of two only. */
export const glm4vOf = (seen: 0 | 1): Family => ({ name: `glm4v-${seen}`, write: write(false, seen) })
export const glmocr: Family = { name: 'glm4v-ocr', write: write(true) }
