import { linear } from '../graph/builder.ts'
import { ropeByHalves } from '../graph/positions.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { inOwnAspect, limitsIn, pageTokens } from '../preprocess/sizes.ts'
import { joinedPatches } from './parts/joined-patches.ts'

/**
 * dots.ocr: a transformer with rotary positions alone reads an image in its own aspect, and the decoder reads its squares
 * in one row. After llama.cpp's tools/mtmd (models/dotsocr.cpp, `mtmd_image_preprocessor_dyn_size`).
 */
export const dotsocr: ImageFamily = {
  types: ['dots_ocr'],
  coordinates: 'seen',
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const factor = metadata.number('clip.vision.projector.scale_factor')
    return joinedPatches(metadata, {
      factor,
      tower: { norm: 'rms', rope: ropeByHalves },
      after: 'mm.post_norm',
      epsilon: 1e-6,
      outside: (reader) =>
        inOwnAspect(
          reader,
          factor,
          limitsIn(metadata, reader.patch * factor),
          (tile, { rows, columns }) => ['<|img|>', { ...tile, tokens: rows * columns }, '<|endofimg|>'],
          { auto: pageTokens },
        ),
      project: (graph, joined) => linear(graph, graph.geluErf(linear(graph, joined, 'mm.0')), 'mm.2'),
    })
  },
}
