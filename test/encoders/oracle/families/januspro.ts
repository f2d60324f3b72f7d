import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { linear, norm } from '../weights.ts'

const [edge, patch] = [edgeOf(64), 8]

export const januspro: Family = {
  name: 'janus_pro',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeVision(projector, {
      ...{ type: 'janus_pro', edge, patch },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...linear('mm.0', towerWidth, textWidth),
        ...linear('mm.1', textWidth, textWidth),
      ],
    })
  },
}
