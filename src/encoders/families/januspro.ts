import { linear } from '../graph/builder.ts'
import { activationOf, siglip } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { wholeSquare } from './parts/whole-square.ts'

/**
 * Janus-Pro, which reads images here and makes none: an image is fitted into one square, its sides grey, and SigLIP reads it.
 * After llama.cpp's tools/mtmd (models/siglip.cpp, `mtmd_image_preprocessor_fixed_size`).
 */
export const januspro: ImageFamily = {
  types: ['janus_pro'],
  width: (metadata) => metadata.needTensor('mm.1.weight').rows,

  open(metadata) {
    const tower = siglip(metadata)
    const activate = activationOf(metadata)
    const square = wholeSquare(metadata, { tokens: (side) => side ** 2, colour: [127, 127, 127] })

    return {
      ...square.outside,

      build(graph) {
        const seen = tower.build(graph, square.pixels(graph))
        return linear(graph, activate.plain(graph, linear(graph, seen, 'mm.0')), 'mm.1')
      },
    }
  },
}
