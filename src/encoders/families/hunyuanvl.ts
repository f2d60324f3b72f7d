import { linear, rmsNorm } from '../graph/builder.ts'
import { betweenCentres, resizedPositions } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { lanczos, resize } from '../preprocess/resize.ts'
import { gridOf, inOwnAspect, limitsIn, pageTokens } from '../preprocess/sizes.ts'

/**
 * HunyuanVL and HunyuanOCR: an image is stretched to whole squares, which two convolutions join. A learned embedding follows
 * each row of squares, and one stands before and after the image. The decoder has rows, columns and the image's number as
 * positions (XD-RoPE). After llama.cpp's tools/mtmd (models/hunyuanvl.cpp, `mtmd_image_preprocessor_dyn_size`, and clip.cpp
 * for the learned positions).
 */
export const hunyuanvl: ImageFamily = {
  types: ['hunyuanvl'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.model.fc.weight').rows,

  open(metadata) {
    const tower = transformer(metadata)
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = metadata.number('clip.vision.spatial_merge_size', 2)
    const edge = patch * factor

    return {
      ...inOwnAspect(
        reader,
        factor,
        limitsIn(metadata, edge, { least: 256, most: 16384 }),
        (tile, { rows, columns }) => {
          const places = { rows, columns: columns + 1 }
          return [
            '<｜hy_place▁holder▁no▁100｜>',
            { ...tile, tokens: places.rows * places.columns + 2, places, xd: true },
            '<｜hy_place▁holder▁no▁101｜>',
          ]
        },
        { auto: pageTokens, scale: (image, size) => resize(image, size, lanczos) },
      ),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
        const positions = resizedPositions(graph, tower.width, betweenCentres(0.1))
        const seen = rmsNorm(graph, tower.all(graph, graph.add(patches, positions)), 'mm.pre_norm', tower.epsilon)
        const squares = linear(graph, graph.joinPatches(seen, grid, factor, { within: 'channels' }), 'mm.0')
        const joined = linear(graph, graph.gelu(squares), 'mm.2')
        // Each row is projected and normed by itself, so that it is enough to do it once with a row that is repeated.
        const withBreak = linear(graph, graph.concatRows(joined, graph.weight('v.image_newline')), 'mm.model.fc')
        const around = graph.concatRows(graph.weight('mm.image_begin'), graph.weight('mm.image_end'))
        const rows = rmsNorm(graph, graph.concatRows(withBreak, around), 'mm.post_norm', tower.epsilon)
        return graph.takeRows(rows, 'lines', ({ rows, columns }) => linesOf(rows / factor, columns / factor))
      },
    }
  },
}

/** The order of the embeddings: the rows of `rows * columns` squares, of which a break, a beginning and an end are behind. */
function linesOf(rows: number, columns: number): Int32Array {
  const squares = rows * columns
  const lines = Array.from({ length: rows }, (_, row) => [
    ...Array.from({ length: columns }, (_, column) => row * columns + column),
    squares,
  ])
  return Int32Array.of(squares + 1, ...lines.flat(), squares + 2)
}
