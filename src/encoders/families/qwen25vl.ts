import type { Grid, Windows } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { qwenImages, qwenPipeline, qwenWidth } from './parts/qwen.ts'

/** The edge of a window in pixels, which files do not record. */
const windowEdge = 112

/**
 * Qwen2.5-VL: in most layers a patch attends to those of its own window, in every `n_wa_pattern`th layer to all others.
 * After llama.cpp's tools/mtmd (models/qwen2vl.cpp, and clip.cpp for the windows).
 */
export const qwen25vl: ImageFamily = {
  types: ['qwen2.5vl_merger'],
  width: qwenWidth,

  open(metadata) {
    const images = qwenImages(metadata)
    const { factor } = images
    const pattern = metadata.number('clip.vision.n_wa_pattern')
    // In squares.
    const across = Math.floor(windowEdge / metadata.number('clip.vision.patch_size') / factor)
    const windows: Windows = {
      size: (across * factor) ** 2,
      rows: (grid) => windowRows({ rows: grid.rows / factor, columns: grid.columns / factor }, across, factor * factor),
    }
    const tower = transformer(metadata, {
      norm: 'rms',
      rope: images.rope,
      windows: (layer) => ((layer + 1) % pattern === 0 ? undefined : windows),
    })
    return qwenPipeline(images, tower)
  },
}

/**
 * The rows of each window. Windows at the right and at the bottom may be narrower.
 * @param squares of the image. @param across squares along a window's edge. @param patches rows of a square
 */
function windowRows(squares: Grid, across: number, patches: number): readonly number[][] {
  const windows: number[][] = []
  for (let top = 0; top < squares.rows; top += across)
    for (let left = 0; left < squares.columns; left += across) {
      const window: number[] = []
      for (let row = top; row < Math.min(top + across, squares.rows); row++)
        for (let column = left; column < Math.min(left + across, squares.columns); column++)
          for (let patch = 0; patch < patches; patch++) window.push((row * squares.columns + column) * patches + patch)
      windows.push(window)
    }
  return windows
}
