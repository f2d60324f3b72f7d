import { writeGguf } from '../../../support/gguf-file.ts'
import { epsilon, width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { feedForwardWidth, headWidth, towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { each, linear, matrix, ones, patches } from '../weights.ts'

const [width, feedForward, layers, patch] = [towerWidth, 0.75 * feedForwardWidth, 2, 16]

export const pixtral: Family = {
  name: 'pixtral',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: ['[IMG]', '[IMG_BREAK]', '[IMG_END]'] })
    const metadata = {
      'general.architecture': { string: 'clip' },
      'general.name': { string: 'a test' },
      'clip.has_vision_encoder': { bool: true },
      'clip.projector_type': { string: 'pixtral' },
      'clip.use_silu': { bool: true },
      'clip.vision.image_size': { u32: 256 },
      'clip.vision.patch_size': { u32: patch },
      'clip.vision.embedding_length': { u32: width },
      'clip.vision.feed_forward_length': { u32: feedForward },
      'clip.vision.block_count': { u32: layers },
      'clip.vision.attention.head_count': { u32: width / headWidth },
      'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
      'clip.vision.projection_dim': { u32: textWidth },
      'clip.vision.image_mean': { f32: [0.48, 0.46, 0.41] },
      'clip.vision.image_std': { f32: [0.27, 0.26, 0.28] },
    }
    const tensors = [
      patches('v.patch_embd.weight', patch, width),
      ones('v.pre_ln.weight', width),
      { name: 'v.token_embd.img_break', shape: [textWidth], fill: { exact: 1 } },
      ...linear('mm.1', width, textWidth),
      ...linear('mm.2', textWidth, textWidth),
      ...each(layers, (layer) => {
        const part = (name: string) => `v.blk.${layer}.${name}`
        return [
          ones(`${part('ln1')}.weight`, width),
          ones(`${part('ln2')}.weight`, width),
          ...['attn_q', 'attn_k', 'attn_v', 'attn_out'].map((name) => matrix(`${part(name)}.weight`, width, width)),
          ...['ffn_gate', 'ffn_up'].map((name) => matrix(`${part(name)}.weight`, width, feedForward)),
          matrix(`${part('ffn_down')}.weight`, feedForward, width),
        ]
      }),
    ]
    writeGguf(projector, metadata, tensors, 2)
  },
}

export const lightonocr: Family = {
  name: 'lightonocr',
  write(decoder, projector) {
    writeDecoder(decoder, {
      architecture: 'qwen3',
      specials: ['<|vision_pad|>', '<|image_pad|>'],
      more: (layer) => ['attn_q_norm', 'attn_k_norm'].map((name) => ones(`blk.${layer}.${name}.weight`, textWidth / 2)),
    })
    writeVision(projector, {
      ...{ type: 'lightonocr', edge: 420, patch: 14, norms: 'rms', gated: true },
      metadata: { 'clip.vision.spatial_merge_size': { u32: 2 } },
      tensors: [
        ones('v.pre_ln.weight', towerWidth),
        ones('mm.input_norm.weight', towerWidth),
        matrix('mm.patch_merger.weight', 4 * towerWidth, towerWidth),
        matrix('mm.1.weight', towerWidth, textWidth),
        matrix('mm.2.weight', textWidth, textWidth),
      ],
    })
  },
}
