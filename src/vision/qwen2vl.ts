import type { Architecture } from './architecture.ts'
import type { Metadata } from './metadata.ts'
import { qwenPictures } from './qwen.ts'
import { transformer } from './transformer.ts'

/** Qwen2-VL: every patch sees every other. After llama.cpp's tools/mtmd (models/qwen2vl.cpp). */
export function qwen2vl(metadata: Metadata): Architecture {
  const pictures = qwenPictures(metadata)
  const tower = transformer(metadata, { rope: pictures.rope })
  return {
    name: 'qwen2vl_merger',
    width: metadata.tensor('mm.2.weight')?.rows ?? 0,
    ...pictures.outside,
    build(graph, tile) {
      const seen = tower.all(graph, pictures.patches(graph, tile))
      return pictures.projected(graph, pictures.joined(graph, seen))
    },
  }
}
