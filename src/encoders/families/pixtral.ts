import type { Metadata } from '../../gguf/index.ts'
import { type GraphBuilder, linear, rmsNorm } from '../graph/builder.ts'
import { ropeByRow } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { FloatSource, ImageFamily, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import type { Size } from '../preprocess/resize.ts'
import { gridOf, inOwnAspect, limitsIn, pageTokens } from '../preprocess/sizes.ts'

const width = (metadata: Metadata): number => metadata.needTensor('mm.2.weight').rows

/**
 * Pixtral: a transformer over patches with 2D rotary positions, a projector of two layers, and a learned break after every
 * row but the last. Mistral Small 3 merges squares of patches into one. After llama.cpp's tools/mtmd (models/pixtral.cpp,
 * clip.cpp, mtmd-image.cpp).
 */
export const pixtral: ImageFamily = {
  types: ['pixtral'],
  width,

  open(metadata, width) {
    const { reader, factor, edge, build } = mistralTower(metadata)
    return {
      // llama.cpp fixes these at 8 and 1024 tokens for this type; the file may override them.
      ...inOwnAspect(reader, factor, limitsIn(metadata, edge, { least: 8, most: 1024 }), (tile, { rows, columns }) => [
        { ...tile, tokens: rows * columns + rows - 1 },
        '[IMG_END]',
      ]),

      build,

      finisher(weights: FloatSource) {
        const pause = weights.floats('v.token_embd.img_break')
        return (embeddings, tile) => {
          const { rows, columns } = gridOf(tile.size, edge)
          const out = new Float32Array(tile.tokens * width)
          const rowValues = columns * width
          for (let row = 0; row < rows; row++) {
            const at = row * (rowValues + width)
            out.set(embeddings.subarray(row * rowValues, (row + 1) * rowValues), at)
            if (row < rows - 1) out.set(pause, at + rowValues)
          }
          return out
        }
      },
    }
  },
}

/**
 * LightOnOCR: the encoder of Mistral Small 3 without breaks. Every image is scaled until its longer edge is as long as the
 * file says. After llama.cpp's tools/mtmd (models/pixtral.cpp, `mtmd_image_preprocessor_longest_edge`).
 */
export const lightonocr: ImageFamily = {
  types: ['lightonocr'],
  width,

  open(metadata) {
    const { reader, factor, edge, build } = mistralTower(metadata)
    const longest = metadata.number('clip.vision.preproc_image_size', metadata.number('clip.vision.image_size'))
    return {
      ...inOwnAspect(
        reader,
        factor,
        { least: 1, most: Math.ceil(longest / edge) ** 2 },
        (tile, { rows, columns }) => ['<|im_start|>', { ...tile, tokens: rows * columns }, '<|im_end|>'],
        { auto: pageTokens, natural: (original) => scaledTo(original, longest, edge) },
      ),
      build,
    }
  },
}

/** The encoder of Mistral's models, up to the rows that are breaks in some of them. */
function mistralTower(metadata: Metadata) {
  const tower = transformer(metadata, { norm: 'rms', rope: ropeByRow })
  const reader = patchReader(metadata)
  const { patch } = reader
  const factor = metadata.number('clip.vision.spatial_merge_size', 1)
  return {
    reader,
    factor,
    /** Of a square that becomes one embedding, in pixels. */
    edge: patch * factor,
    build<N>(graph: GraphBuilder<N>, { size }: Tile): N {
      const grid = gridOf(size, patch)
      let x = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
      x = tower.all(graph, x)
      if (graph.has('mm.patch_merger.weight')) {
        const normed = rmsNorm(graph, x, 'mm.input_norm', tower.epsilon)
        x = linear(graph, graph.joinPatches(normed, grid, factor, { within: 'channels' }), 'mm.patch_merger')
      }
      return linear(graph, graph.gelu(linear(graph, x, 'mm.1')), 'mm.2')
    },
  }
}

/** Scales the longer edge to `longest`, and rounds both up to whole squares: llama.cpp's `calc_size_preserved_ratio`. */
function scaledTo({ width, height }: Size, longest: number, edge: number): Size {
  const f = Math.fround
  const scale = Math.min(f(longest / width), f(longest / height))
  const whole = (length: number) => Math.ceil(f(f(length * scale) / edge)) * edge
  return { width: whole(width), height: whole(height) }
}
