import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { matrix, ones } from '../weights.ts'

const [edge, patch, factor] = [edgeOf(64), 8, 2]

export const nemotron: Family = {
  name: 'nemotron_v2_vl',
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'nemotron_h')
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      ...{ type: 'nemotron_v2_vl', edge, patch, fused: true },
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        { name: 'v.class_embd', shape: [towerWidth, 3], fill: { exact: 0.3 } },
        ones('mm.model.mlp.0.weight', joined),
        matrix('mm.model.mlp.1.weight', joined, towerWidth),
        matrix('mm.model.mlp.3.weight', towerWidth, textWidth),
      ],
    })
  },
}
