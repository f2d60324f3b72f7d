import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { matrix, norm } from '../weights.ts'

const [patch, window, inner] = [14, 8, 96]

export const museglimmer: Family = {
  name: 'muse-glimmer',
  write(decoder, vision) {
    writeSmallDecoder(decoder, 'muse-glimmer', { specials: ['<|image_start|>', '<|image_end|>', '<|image|>'] })
    writeVision(vision, {
      ...{ type: 'muse-glimmer', edge: 224, patch, layers: 4 },
      metadata: { 'clip.vision.spatial_merge_size': { u32: 2 } },
      tensors: [
        { name: 'v.position_embd.weight', shape: [towerWidth, window ** 2], fill: { exact: 0.3 } },
        ...norm('v.pre_ln', towerWidth),
        ...norm('v.post_ln', towerWidth),
        matrix('mm.0.weight', 4 * towerWidth, inner),
        matrix('mm.1.weight', inner, inner),
        matrix('mm.2.weight', inner, textWidth),
      ],
    })
  },
}
