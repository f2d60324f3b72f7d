import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { matrix, norm, ones } from '../weights.ts'

const [edge, patch, factor] = [edgeOf(64), 8, 2]

/** Its decoder attends to a window of tokens, and reads an image at once. */
export const gemma3: Family = {
  name: 'gemma3',
  write(decoder, projector) {
    writeDecoder(decoder, {
      architecture: 'gemma3',
      layers: 2,
      specials: ['<start_of_image>', '<end_of_image>'],
      metadata: {
        'gemma3.attention.sliding_window': { u32: 24 },
        'gemma3.attention.key_length': { u32: 16 },
        'gemma3.attention.value_length': { u32: 16 },
      },
      more: (layer) =>
        [
          ['attn_q_norm', 16],
          ['attn_k_norm', 16],
          ['post_attention_norm', textWidth],
          ['post_ffw_norm', textWidth],
        ].map(([name, width]) => ones(`blk.${layer}.${name}.weight`, Number(width))),
    })
    writeVision(projector, {
      type: 'gemma3',
      edge,
      patch,
      swapped: true,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ones('mm.soft_emb_norm.weight', towerWidth),
        matrix('mm.input_projection.weight', textWidth, towerWidth),
      ],
    })
  },
}
