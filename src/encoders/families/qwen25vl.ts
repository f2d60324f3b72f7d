import type { Metadata } from '../../gguf/index.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily, ImagePipeline } from '../image-architecture.ts'
import { limitsIn } from '../preprocess/sizes.ts'
import { qwenImages, qwenPipeline, qwenWidth, qwenWindows } from './parts/qwen.ts'

/** The edge of a window in pixels, which files do not record. */
const windowEdge = 112

/**
 * Qwen2.5-VL, and the eyes of Qwen2.5-Omni: in most layers a patch attends to those of its own window, in every
 * `n_wa_pattern`th layer to all others. After llama.cpp's tools/mtmd (models/qwen2vl.cpp, and clip.cpp for the windows).
 */
export const qwen25vl: ImageFamily = {
  types: ['qwen2.5vl_merger', 'qwen2.5o'],
  coordinates: 'seen',
  width: qwenWidth,
  open: (metadata) =>
    windowed(
      metadata,
      qwenImages(metadata, { ways: { framesPerTile: 2 } }),
      metadata.number('clip.vision.n_wa_pattern'),
    ),
}

/**
 * EXAONE 4.5: the same, with fewer heads of keys and values, and with windows only if the file says so. After llama.cpp's
 * tools/mtmd (models/exaone4_5.cpp).
 */
export const exaone45: ImageFamily = {
  types: ['exaone4_5'],
  width: qwenWidth,

  open(metadata) {
    const square = metadata.number('clip.vision.patch_size') * metadata.number('clip.vision.spatial_merge_size', 2)
    const images = qwenImages(metadata, { marks: ['<vision>', '</vision>'], limits: limitsIn(metadata, square) })
    return windowed(metadata, images, metadata.number('clip.vision.n_wa_pattern', 0))
  },
}

/** @param pattern every how many layers attention has no windows; 0: it never has any */
function windowed(metadata: Metadata, images: ReturnType<typeof qwenImages>, pattern: number): ImagePipeline {
  const { factor, rope } = images
  const windows = qwenWindows(windowEdge, metadata.number('clip.vision.patch_size') * factor, factor)
  const tower = transformer(metadata, {
    norm: 'rms',
    rope,
    windows: (layer) => (pattern === 0 || (layer + 1) % pattern === 0 ? undefined : windows),
  })
  return qwenPipeline(images, tower)
}
