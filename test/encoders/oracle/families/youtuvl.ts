import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { bias, linear, matrix, norm, ones } from '../weights.ts'

const [edge, patch, joined] = [112, 14, 4 * towerWidth]

export const youtuvl: Family = {
  name: 'youtuvl',
  write(decoder, vision) {
    writeSmallDecoder(decoder, 'deepseek2', { specials: ['<|vision_start|>', '<|vision_end|>', '<|image_pad|>'] })
    writeVision(vision, {
      ...{ type: 'youtuvl', edge, patch },
      metadata: {
        'clip.vision.spatial_merge_size': { u32: 2 },
        'clip.vision.window_size': { u32: edge },
        'clip.vision.wa_layer_indexes': { i32: [1] },
      },
      tensors: [
        matrix('v.patch_embd.weight', 3 * patch * patch, towerWidth),
        bias('v.patch_embd.bias', towerWidth),
        ...norm('v.post_ln', towerWidth),
        ones('mm.input_norm.weight', towerWidth),
        ...linear('mm.0', joined, joined),
        ...linear('mm.2', joined, textWidth),
      ],
    })
  },
}
