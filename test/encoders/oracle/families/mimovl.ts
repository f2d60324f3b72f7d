import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { linear, matrix, norm, patches } from '../weights.ts'

const [edge, patch, heads, sharedHeads, headWidth] = [64, 8, 4, 2, 32]
const joined = 4 * towerWidth
/** To all, and to those near by row, by column, and by row. */
const modes = [-1, 0, 1, 1, 0]

export const mimovl: Family = {
  name: 'mimovl',
  write(decoder, vision) {
    writeSmallDecoder(decoder, 'mimo2', { specials: ['<|vision_start|>', '<|vision_end|>'] })
    writeVision(vision, {
      ...{ type: 'mimovl', edge, patch, layers: modes.length, norms: 'rms', biased: true, gated: true, fused: true },
      ...{ heads, sharedHeads, headWidth },
      metadata: {
        'clip.vision.wa_pattern_mode': { i32: modes },
        // Not whole squares.
        'clip.vision.window_size': { u32: 6 },
        'clip.vision.image_min_pixels': { u32: 4 * 16 ** 2 },
        'clip.vision.image_max_pixels': { u32: 512 * 16 ** 2 },
      },
      more: (part) => [{ name: part('attn_sinks'), shape: [heads], fill: { exact: 2 } }],
      tensors: [
        patches('v.patch_embd.weight.1', patch, towerWidth),
        ...norm('v.post_ln', towerWidth),
        ...linear('mm.0', joined, joined),
        matrix('mm.2.weight', joined, textWidth),
      ],
    })
  },
}
