import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { linear, norm } from '../weights.ts'

const [edge, patch] = [112, 14]
const joined = 4 * towerWidth

export const paddleocr: Family = {
  name: 'paddleocr',
  write(decoder, projector) {
    writeDecoder(decoder, {
      architecture: 'paddleocr',
      layers: 2,
      specials: ['<|IMAGE_START|>', '<|IMAGE_END|>', '<|IMAGE_PLACEHOLDER|>'],
      metadata: { 'paddleocr.rope.dimension_sections': { i32: [2, 3, 3, 0] } },
    })
    writeVision(projector, {
      type: 'paddleocr',
      edge,
      patch,
      metadata: {
        'clip.vision.image_min_pixels': { u32: 12 * 28 ** 2 },
        'clip.vision.image_max_pixels': { u32: 1280 * 28 ** 2 },
      },
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
