import { type Grid, layerNorm, linear, rmsNorm } from '../graph/builder.ts'
import { bicubicBetween, resizedPositions, ropeByHalves } from '../graph/positions.ts'
import { activationOf, transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf, inOwnAspect, pageTokens } from '../preprocess/sizes.ts'

/**
 * GLM-4.1V to 4.6V and GLM-OCR: an image keeps its aspect, and the decoder has its rows and columns as positions (M-RoPE).
 * A convolution joins squares of patches, and a gated layer projects them. GLM-OCR norms queries and keys instead of adding
 * learned positions, and its patches are normed without a weight. After llama.cpp's tools/mtmd (models/glm4v.cpp,
 * `mtmd_image_preprocessor_dyn_size`), which orders patches square by square: attention is the same in any order. A tile
 * spans two frames of a video as in models/glm4v of Hugging Face's transformers; llama.cpp encodes each frame by itself.
 */
export const glm4v: ImageFamily = {
  types: ['glm4v'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.down.weight').rows,

  open(metadata) {
    const tower = transformer(metadata, { norm: 'rms', rope: ropeByHalves })
    const activate = activationOf(metadata)
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = metadata.number('clip.vision.spatial_merge_size', 2)
    const readsPages = metadata.tensor('v.position_embd.weight') === null

    return {
      ...inOwnAspect(
        reader,
        factor,
        { least: 8, most: 4096 },
        (tile, places) => [
          '<|begin_of_image|>',
          { ...tile, tokens: places.rows * places.columns, places },
          '<|end_of_image|>',
        ],
        { framesPerTile: 2, ...(readsPages && { auto: pageTokens }) },
      ),

      build(graph, { size, frames = 1 }) {
        const grid = gridOf(size, patch)
        const pixels = graph.input(grid.rows * grid.columns * frames, 3 * patch * patch)
        // The convolution spans two frames of a video; an image is both of them.
        const first = graph.takeRows(pixels, 'first frame', (of) => frameRows(of, 0))
        const last = graph.takeRows(pixels, 'last frame', (of) => frameRows(of, (of.frames ?? 1) - 1))
        const second = graph.matmul(graph.weight('v.patch_embd.weight.1'), last)
        const patches = graph.add(linear(graph, first, 'v.patch_embd'), second)
        const normed = graph.has('v.norm_embd.weight')
          ? rmsNorm(graph, patches, 'v.norm_embd', tower.epsilon)
          : graph.rmsNorm(patches, undefined, tower.epsilon)
        const placed = readsPages ? normed : graph.add(normed, resizedPositions(graph, tower.width, bicubicBetween))
        const squares = graph.joinPatches(tower.all(graph, placed), grid, factor, { within: 'channels' })
        const joined = linear(graph, linear(graph, squares, 'mm.patch_merger'), 'mm.model.fc')
        // PyTorch's default epsilon, which may differ from the tower's.
        const inner = graph.geluErf(layerNorm(graph, joined, 'mm.post_norm', 1e-5))
        const active = activate.gated(graph, linear(graph, inner, 'mm.gate'), linear(graph, inner, 'mm.up'))
        return linear(graph, active, 'mm.down')
      },
    }
  },
}

/** The patches of a frame, row by row. */
const frameRows = ({ rows, columns }: Grid, frame: number): Int32Array =>
  Int32Array.from({ length: rows * columns }, (_, place) => frame * rows * columns + place)
