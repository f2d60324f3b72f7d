import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { linear, norm, patches } from '../weights.ts'

const [patch, inner] = [14, 96]

export const minimaxm3: Family = {
  name: 'minimax_m3',
  write(decoder, vision) {
    writeSmallDecoder(decoder, 'minimax-m3', {
      specials: [']<]start of image[>[', ']<]end of image[>[', ']<]image[>['],
    })
    writeVision(vision, {
      ...{ type: 'minimax_m3', edge: 672, patch },
      metadata: { 'clip.vision.spatial_merge_size': { u32: 2 } },
      tensors: [
        patches('v.patch_embd.weight.1', patch, towerWidth),
        ...norm('v.pre_ln', towerWidth),
        ...linear('mm.1', towerWidth, inner),
        ...linear('mm.2', inner, inner),
        ...linear('mm.merger.fc1', 4 * inner, inner),
        ...linear('mm.merger.fc2', inner, textWidth),
      ],
    })
  },
}
