import type { Architecture } from './architecture.ts'
import type { Grid, Windows } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { qwenEncoder, qwenPictures } from './qwen.ts'
import { transformer } from './transformer.ts'

/** Edge of a window in pixels, which files do not tell. */
const windowEdge = 112

/**
 * Qwen2.5-VL: in most layers a patch only sees those of its own window, in every `n_wa_pattern`th all others. After
 * llama.cpp's tools/mtmd (models/qwen2vl.cpp, and clip.cpp for the windows).
 */
export function qwen25vl(metadata: Metadata): Architecture {
  const pictures = qwenPictures(metadata)
  const { factor } = pictures
  const pattern = metadata.number('clip.vision.n_wa_pattern')
  /** Along a window's edge, in squares. */
  const across = Math.floor(windowEdge / metadata.number('clip.vision.patch_size') / factor)
  const windows: Windows = {
    size: (across * factor) ** 2,
    rows: (grid) => windowRows({ rows: grid.rows / factor, columns: grid.columns / factor }, across, factor * factor),
  }
  const tower = transformer(metadata, {
    norm: 'rms',
    rope: pictures.rope,
    windows: (layer) => ((layer + 1) % pattern === 0 ? undefined : windows),
  })
  return qwenEncoder('qwen2.5vl_merger', metadata, pictures, tower)
}

/**
 * The rows of each window. Those at the right and below may be narrower.
 * @param squares of the picture. @param across squares along a window's edge. @param patches rows of a square
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
