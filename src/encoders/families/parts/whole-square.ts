import type { Metadata } from '../../../gguf/index.ts'
import { type GraphBuilder, type Grid, linear } from '../../graph/builder.ts'
import type { ImagePipeline } from '../../image-architecture.ts'
import { patchReader } from '../../preprocess/patches.ts'
import { bicubic, type Colour, type Kernel, resizeInto } from '../../preprocess/resize.ts'

/** For encoders that fit every image into one square. */
interface WholeSquare {
  /** The part of the pipeline outside of the graph. */
  readonly outside: Omit<ImagePipeline, 'build'>
  /** Patches along its edge. */
  readonly side: number
  /** The input of the graph: `[side², 3 * patch²]` */
  pixels<N>(graph: GraphBuilder<N>): N
  /** Its patches: `[side², width]` */
  patches<N>(graph: GraphBuilder<N>): N
}

interface SquareKind {
  /** Embeddings of a square of `side` by `side` patches. */
  tokens(side: number): number
  /** By default bicubic. */
  kernel?: Kernel
  /** Of the sides, if the image is no square. By default black. */
  colour?: Colour
  /** Text before and after the image. */
  marks?: readonly [string, string]
}

/** After llama.cpp's `mtmd_image_preprocessor_fixed_size`. */
export function wholeSquare(metadata: Metadata, { tokens, kernel = bicubic, colour, marks }: SquareKind): WholeSquare {
  const reader = patchReader(metadata)
  const edge = metadata.number('clip.vision.image_size')
  const side = Math.floor(edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }
  const size = { width: edge, height: edge }
  const tile = { image: 0, x: 0, y: 0, size, tokens: tokens(side) }
  const pixels = <N>(graph: GraphBuilder<N>): N => graph.input(side * side, 3 * reader.patch * reader.patch)
  return {
    outside: {
      longestEdge: edge,
      plan: (original, detail) => ({
        original,
        detail,
        name: 'whole',
        layout: marks === undefined ? [tile] : [marks[0], tile, marks[1]],
      }),
      scale: (image) => [resizeInto(image, size, kernel, colour)],
      prepare: reader.read,
      grid: () => grid,
    },
    side,
    pixels,
    patches: (graph) => linear(graph, pixels(graph), 'v.patch_embd'),
  }
}
