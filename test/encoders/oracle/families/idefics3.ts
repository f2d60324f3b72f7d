import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { learnedPositions, towerWidth, writeVision } from '../vision-file.ts'
import { matrix, norm } from '../weights.ts'

const [edge, patch, factor] = [64, 16, 2]

const specials = [
  '<fake_token_around_image>',
  '<global-img>',
  ...Array.from({ length: 64 }, (_, i) => `<row_${Math.floor(i / 8) + 1}_col_${(i % 8) + 1}>`),
]

export const idefics3: Family = { name: 'idefics3', write: (...files) => write(...files, 128) }

/** Files made before mid-2025 do not say how far an image is enlarged. */
export const oldIdefics3: Family = { name: 'idefics3-old', write: (...files) => write(...files, 0) }

function write(decoder: string, projector: string, longestEdge: number): void {
  writeDecoder(decoder, { specials })
  writeVision(projector, {
    ...{ type: 'idefics3', edge, patch },
    metadata: {
      ...(longestEdge > 0 ? { 'clip.vision.preproc_image_size': { u32: longestEdge } } : {}),
      'clip.vision.projector.scale_factor': { u32: factor },
    },
    tensors: [
      ...norm('v.post_ln', towerWidth),
      ...learnedPositions((edge / patch) ** 2),
      matrix('mm.model.fc.weight', towerWidth * factor * factor, textWidth),
    ],
  })
}
