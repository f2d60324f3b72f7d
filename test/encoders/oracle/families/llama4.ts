import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, matrix, norm } from '../weights.ts'

const [edge, patch, factor] = [edgeOf(32), 8, 2]

export const llama4: Family = {
  name: 'llama4',
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'llama4', { specials: ['<|image_start|>', '<|image_end|>', '<|image|>'] })
    const [, positions] = learnedPositions((edge / patch) ** 2 + 1)
    if (positions === undefined) throw new Error('no positions')
    writeVision(projector, {
      type: 'llama4',
      edge,
      patch,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        // Its convolution is stored as a matrix and has no bias.
        { name: 'v.patch_embd.weight', shape: [patch * patch * 3, towerWidth], fill: { exact: 0.05 } },
        positions,
        bias('v.class_embd', towerWidth),
        ...norm('v.pre_ln', towerWidth),
        ...norm('v.post_ln', towerWidth),
        matrix('mm.model.mlp.1.weight', towerWidth * factor ** 2, towerWidth),
        matrix('mm.model.mlp.2.weight', towerWidth, towerWidth),
        matrix('mm.model.fc.weight', towerWidth, textWidth),
      ],
    })
  },
}
