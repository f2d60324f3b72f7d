import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { learnedPositions, towerWidth, writeVision } from '../vision-file.ts'
import { linear, norm } from '../weights.ts'

const [edge, patch, factor] = [64, 8, 2]

export const kimivl: Family = {
  name: 'kimivl',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: ['<|media_start|>', '<|media_end|>', '<|media_pad|>'] })
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      type: 'kimivl',
      edge,
      patch,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...norm('mm.input_norm', towerWidth),
        ...linear('mm.1', joined, joined),
        ...linear('mm.2', joined, textWidth),
      ],
    })
  },
}
