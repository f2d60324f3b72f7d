import type { Architecture, Detail, PicturePlan, Tile } from './architecture.ts'
import { type GraphBuilder, type Grid, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { alignedSize, bicubic, lanczos, resize, resizeInto, type Size } from './resize.ts'
import { siglip } from './siglip.ts'
import { squareTile } from './tiling.ts'

/** Tiles along the longer edge that `detail: auto` cuts a picture into, at most: with the overview five times a tile's cost. */
const autoAlong = 2

/**
 * Idefics3, and SmolVLM after it: a picture is cut into square tiles beside an overview of the whole; SigLIP reads each of
 * them, and squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/siglip.cpp,
 * `mtmd_image_preprocessor_idefics3`, `MTMD_SLICE_TMPL_IDEFICS3`).
 */
export function idefics3(metadata: Metadata): Architecture {
  const tower = siglip(metadata)
  const reader = patchReader(metadata)
  const factor = metadata.number('clip.vision.projector.scale_factor', 4)
  const { edge } = tower
  const side = edge / reader.patch
  const grid: Grid = { rows: side, columns: side }
  const tokens = (side / factor) ** 2
  // Files made before mid-2025 do not say how far pictures are enlarged: those go by the picture's own size.
  const longest = metadata.number('clip.vision.preproc_image_size', 0)

  const tile = squareTile(edge, tokens)

  /** Sizes that a picture is brought to, one after the other, before it is cut into tiles; null: it is not cut. */
  const sizes = (original: Size, detail: Detail): Size[] | null => {
    const natural = Math.ceil(Math.max(original.width, original.height) / edge)
    if (detail === 'low' || (detail === 'auto' && natural <= 1)) return null
    // As old files are read: the nearest whole tiles, the aspect kept.
    if (detail === 'high' && longest === 0) return [alignedSize(original, edge, 0, Number.POSITIVE_INFINITY)]
    const most = detail === 'auto' ? Math.min(autoAlong, natural) * edge : longest
    const first = scaledTo(original, longest > 0 ? Math.min(longest, most) : most)
    const whole = (length: number) => Math.ceil(length / edge) * edge
    return [first, { width: whole(first.width), height: whole(first.height) }]
  }

  return {
    name: 'idefics3',
    width: metadata.number('clip.vision.projection_dim'),
    longestEdge: longest || 4 * edge,

    plan(original: Size, detail: Detail): PicturePlan {
      const overview = ['<fake_token_around_image><global-img>', tile(0, 0, 0), '<fake_token_around_image>']
      const cut = sizes(original, detail)?.at(-1)
      if (cut === undefined) return { original, detail, name: 'overview', layout: overview }
      const [rows, columns] = [cut.height / edge, cut.width / edge]
      const layout: (string | Tile)[] = []
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++)
          layout.push(`<fake_token_around_image><row_${row + 1}_col_${column + 1}>`, tile(1, row, column))
        layout.push(row === rows - 1 ? '\n\n' : '\n')
      }
      return { original, detail, name: `${detail} ${columns}x${rows}`, layout: [...layout, ...overview] }
    },

    scale(picture, { original, detail }) {
      const square = { width: edge, height: edge }
      const steps = sizes(original, detail)
      if (steps === null) return [resize(picture, square, lanczos)]
      const [first = square, second] = steps
      if (second === undefined) return [resize(picture, square, bicubic), resizeInto(picture, first, bicubic)]
      // As Hugging Face's processor has it: first to the longest edge, then without the aspect to whole tiles.
      const cut = resize(resize(picture, first, lanczos), second, lanczos)
      return [resize(cut, square, lanczos), cut]
    },

    prepare: (scaled, part) => reader.read(scaled, part),

    grid: () => grid,

    build<N>(graph: GraphBuilder<N>): N {
      const patches = graph.input(side * side, 3 * reader.patch * reader.patch)
      return linear(graph, graph.joinPatches(tower.build(graph, patches), grid, factor), 'mm.model.fc')
    },

    finisher: () => (embeddings) => embeddings,
  }
}

/** So that the longer edge is `longest`, the other even, in the order of operations of the original. */
function scaledTo({ width, height }: Size, longest: number): Size {
  const aspect = width / height
  // The original fails on pictures so narrow that nothing would be left of them.
  const even = (edge: number) => Math.max(2, Math.trunc(edge) + (Math.trunc(edge) % 2))
  return width >= height
    ? { width: longest, height: even(longest / aspect) }
    : { width: even(longest * aspect), height: longest }
}
