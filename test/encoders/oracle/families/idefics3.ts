import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { matrix, norm } from '../weights.ts'

const [patch, factor] = [16, 2]

const specials = [
  '<fake_token_around_image>',
  '<global-img>',
  ...Array.from({ length: 64 }, (_, i) => `<row_${Math.floor(i / 8) + 1}_col_${(i % 8) + 1}>`),
]

export const idefics3: Family = { name: 'idefics3', write: (...files) => write(...files, 64, 128) }

/** Files made before mid-2025 do not say how far an image is enlarged. */
export const oldIdefics3: Family = { name: 'idefics3-old', write: (...files) => write(...files, 64, 0) }

/** The tiles of SmolVLM 2.2B are 384 pixels wide, and its patches 14: the rest is not read. */
export const unevenIdefics3: Family = { name: 'idefics3-uneven', write: (...files) => write(...files, 72, 144) }

function write(decoder: string, projector: string, small: number, smallLongest: number): void {
  const [edge, longestEdge] = [edgeOf(small), edgeOf(smallLongest)]
  writeDecoder(decoder, { specials })
  writeVision(projector, {
    ...{ type: 'idefics3', edge, patch },
    metadata: {
      ...(longestEdge > 0 ? { 'clip.vision.preproc_image_size': { u32: longestEdge } } : {}),
      'clip.vision.projector.scale_factor': { u32: factor },
    },
    tensors: [
      ...norm('v.post_ln', towerWidth),
      ...learnedPositions(Math.floor(edge / patch) ** 2),
      matrix('mm.model.fc.weight', towerWidth * factor * factor, textWidth),
    ],
  })
}
