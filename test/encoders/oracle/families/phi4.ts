import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { linear } from '../weights.ts'

const [edge, patch] = [edgeOf(128), 16]

export const phi4: Family = {
  name: 'phi4',
  write(decoder, projector) {
    writeDecoder(decoder, { architecture: 'phi3', fused: true, specials: [] })
    writeVision(projector, {
      ...{ type: 'phi4', edge, patch },
      metadata: {
        'clip.vision.image_min_pixels': { u32: 32 * patch ** 2 },
        'clip.vision.image_max_pixels': { u32: 1200 * patch ** 2 },
      },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...linear('mm.0', towerWidth, textWidth),
        ...linear('mm.2', textWidth, textWidth),
      ],
    })
  },
}
