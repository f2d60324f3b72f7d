import { type GraphBuilder, linear, type Rope2d } from '../graph/builder.ts'
import { ropeByRow } from '../graph/positions.ts'
import { exactGelu, transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bicubic, resize } from '../preprocess/resize.ts'
import { gridOf, inOwnAspect } from '../preprocess/sizes.ts'

/**
 * MiniMax M3: an image is stretched to whole squares. The first third of each head has a place for the time of a frame,
 * which an image does not have; the others are rotated by row and column. Each patch is projected, squares of them are
 * joined and projected again. After llama.cpp's tools/mtmd (models/minimax-m3.cpp, `mtmd_image_preprocessor_dyn_size`),
 * which orders patches square by square: attention is the same in any order.
 */
export const minimaxm3: ImageFamily = {
  types: ['minimax_m3'],
  width: (metadata) => metadata.needTensor('mm.merger.fc2.bias').columns,

  open(metadata) {
    const vision = (key: string) => metadata.number(`clip.vision.${key}`)
    const third = thirdOf(vision('embedding_length') / vision('attention.head_count'))
    const rope: Rope2d = {
      ...ropeByRow,
      interleaved: false,
      pairs: 'quarters',
      part: { from: third, width: 2 * third },
    }
    const tower = transformer(metadata, { activation: exactGelu, rope })
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = metadata.number('clip.vision.spatial_merge_size', 2)

    return {
      ...inOwnAspect(
        reader,
        factor,
        { least: 8, most: 576 },
        (tile, { rows, columns }) => [
          ']<]start of image[>[',
          { ...tile, tokens: rows * columns },
          ']<]end of image[>[',
        ],
        { scale: (image, size) => resize(image, size, bicubic) },
      ),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const pixels = graph.input(grid.rows * grid.columns, 3 * patch * patch)
        // The convolution spans two frames of a video; an image is both of them.
        const product = (name: string) => graph.matmul(graph.weight(name), pixels)
        const patches = graph.add(product('v.patch_embd.weight'), product('v.patch_embd.weight.1'))
        const each = twoLayers(graph, tower.all(graph, patches), 'mm.1', 'mm.2')
        return twoLayers(graph, graph.joinPatches(each, grid, factor), 'mm.merger.fc1', 'mm.merger.fc2')
      },
    }
  },
}

/** The numbers of a head for one axis: an even third, rounded down. */
const thirdOf = (head: number): number => 2 * Math.floor(Math.floor((2 * Math.floor(head / 2)) / 3) / 2)

const twoLayers = <N>(graph: GraphBuilder<N>, x: N, up: string, down: string): N =>
  linear(graph, graph.geluErf(linear(graph, x, up)), down)
