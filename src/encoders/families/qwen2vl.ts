import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { qwenImages, qwenPipeline, qwenWidth } from './parts/qwen.ts'

/** Qwen2-VL: every patch attends to every other. After llama.cpp's tools/mtmd (models/qwen2vl.cpp). */
export const qwen2vl: ImageFamily = {
  types: ['qwen2vl_merger'],
  coordinates: 1000,
  width: qwenWidth,

  open(metadata) {
    const images = qwenImages(metadata, { ways: { framesPerTile: 2 } })
    return qwenPipeline(images, transformer(metadata, { rope: images.rope }))
  },
}
