import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { learnedPositions, towerWidth, writeVision } from '../vision-file.ts'
import { linear, norm } from '../weights.ts'

const [edge, patch, factor] = [256, 16, 2]

const specials = [
  '<|image_start|>',
  '<|image_end|>',
  '<|img_thumbnail|>',
  ...Array.from({ length: 100 }, (_, i) => `<|img_row_${Math.floor(i / 10) + 1}_col_${(i % 10) + 1}|>`),
]

export const lfm2: Family = {
  name: 'lfm2',
  write(decoder, projector) {
    writeDecoder(decoder, { specials })
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      type: 'lfm2',
      edge,
      patch,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...norm('mm.input_norm', joined),
        ...linear('mm.1', joined, towerWidth),
        ...linear('mm.2', towerWidth, textWidth),
      ],
    })
  },
}
