import { type Grid, linear, type Windows } from '../graph/builder.ts'
import { betweenCentres, resizedPositions, ropeByColumn } from '../graph/positions.ts'
import { exactGelu, transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { lanczos, resize, type Size } from '../preprocess/resize.ts'
import { gridOf, inOwnAspect } from '../preprocess/sizes.ts'

/** In every so many layers, and in the last one, a patch attends to all others. */
const wideEvery = 4

/**
 * Muse Glimmer: an image is stretched to whole squares. In most layers a patch attends to those of its own window, which is
 * as large as the grid of the learned positions. After llama.cpp's tools/mtmd (models/muse-glimmer.cpp,
 * `mtmd_image_preprocessor_muse_glimmer`).
 */
export const museglimmer: ImageFamily = {
  types: ['muse-glimmer'],
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const layers = metadata.number('clip.vision.block_count')
    const windows = windowsOf(Math.floor(Math.sqrt(metadata.needTensor('v.position_embd.weight').rows)))
    const tower = transformer(metadata, {
      activation: exactGelu,
      rope: ropeByColumn,
      windows: (layer) => (layer === layers - 1 || (layer + 1) % wideEvery === 0 ? undefined : windows),
    })
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = metadata.number('clip.vision.spatial_merge_size', 2)

    return {
      ...inOwnAspect(
        reader,
        factor,
        { least: 1, most: 4096 },
        (tile, places) => [
          '<|image_start|>',
          { ...tile, tokens: places.rows * places.columns, places },
          '<|image_end|>',
        ],
        {
          natural: (original, most) => nearestAspect(original, patch * factor, most),
          scale: (image, size) => resize(image, size, lanczos),
        },
      ),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
        const positions = resizedPositions(graph, tower.width, betweenCentres())
        const seen = tower.all(graph, graph.add(patches, positions))
        const joined = graph.joinPatches(seen, grid, factor, { within: 'channels' })
        const inner = graph.geluErf(linear(graph, joined, 'mm.0'))
        return linear(graph, graph.geluErf(linear(graph, inner, 'mm.1')), 'mm.2')
      },
    }
  },
}

/** Windows of `edge` by `edge` patches, which are narrower at the right and at the bottom. */
const windowsOf = (edge: number): Windows => ({
  size: edge * edge,
  rows({ rows, columns }) {
    const across = Math.ceil(columns / edge)
    const windows: number[][] = Array.from({ length: across * Math.ceil(rows / edge) }, () => [])
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        windows[Math.floor(row / edge) * across + Math.floor(column / edge)]?.push(row * columns + column)
    return windows
  },
})

/**
 * Of the whole squares next to the image's own size, or to the largest of its aspect with `most` squares, those whose aspect
 * is nearest to the image's: transformers' `get_aspect_ratio_preserving_size`.
 */
function nearestAspect({ width, height }: Size, edge: number, most: number): Size {
  const aspect = width / height
  const fits = (width / edge) * (height / edge) <= most
  const rows = fits ? height / edge : Math.sqrt(most / aspect)
  const columns = fits ? width / edge : rows * aspect
  let best: (Grid & { error: number }) | undefined
  for (const r of [Math.floor(rows), Math.ceil(rows)])
    for (const c of [Math.floor(columns), Math.ceil(columns)]) {
      if (r < 1 || c < 1 || r * c > most) continue
      const error = Math.abs(r / c - height / width)
      if (best === undefined || error < best.error || (error === best.error && r * c > best.rows * best.columns))
        best = { rows: r, columns: c, error }
    }
  const chosen = best ?? { rows: Math.max(1, Math.round(rows)), columns: Math.max(1, Math.round(columns)) }
  return { width: chosen.columns * edge, height: chosen.rows * edge }
}
