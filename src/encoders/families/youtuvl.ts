import { linear, rmsNorm } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bilinear, resize, type Size } from '../preprocess/resize.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { qwenImages, qwenWidth, qwenWindows } from './parts/qwen.ts'

/**
 * Youtu-VL: an image is stretched to whole squares. In most layers of SigLIP 2 a patch attends to those of its own window,
 * in the layers that the file names to all others. After llama.cpp's tools/mtmd (models/youtuvl.cpp,
 * `mtmd_image_preprocessor_youtuvl`).
 */
export const youtuvl: ImageFamily = {
  types: ['youtuvl'],
  width: qwenWidth,

  open(metadata) {
    const reader = patchReader(metadata, { byPixel: true })
    const { patch } = reader
    const square = patch * metadata.number('clip.vision.spatial_merge_size', 2)
    const images = qwenImages(metadata, {
      limits: { least: 1, most: 62500 },
      reader,
      ways: {
        natural: (original, most) => inSteps(original, square, most),
        scale: (image, size) => resize(image, size, bilinear),
      },
    })
    const { factor, rope } = images
    const windows = qwenWindows(metadata.number('clip.vision.window_size'), square, factor)
    const wide = new Set(metadata.integers('clip.vision.wa_layer_indexes'))
    const tower = transformer(metadata, {
      rope,
      windows: (layer) => (wide.size === 0 || wide.has(layer) ? undefined : windows),
    })

    return {
      ...images.outside,

      build(graph, { size }) {
        const { rows, columns } = gridOf(size, patch)
        const pixels = images.inSquares(graph, graph.input(rows * columns, 3 * patch * patch))
        const seen = tower.all(graph, linear(graph, pixels, 'v.patch_embd'))
        // A constant of llama.cpp, which may differ from the tower's epsilon.
        return images.projected(graph, images.joined(graph, rmsNorm(graph, seen, 'mm.input_norm', 1e-6)))
      },
    }
  },
}

/** Scales by 1, 0.98, 0.96 and so on, in 32-bit floats, until the whole squares that the image needs are few enough. */
function inSteps({ width, height }: Size, square: number, most: number): Size {
  const f = Math.fround
  const step = f(0.02)
  const whole = (length: number, scale: number) => Math.max(1, Math.ceil(f(f(length * scale) / square)))
  let [columns, rows] = [0, 0]
  for (let scale = 1; scale > 0; scale = f(scale - step)) {
    columns = whole(width, scale)
    rows = whole(height, scale)
    if (columns * rows <= most) break
  }
  return { width: columns * square, height: rows * square }
}
