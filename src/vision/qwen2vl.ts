import type { Architecture } from './architecture.ts'
import type { Metadata } from './metadata.ts'
import { qwenEncoder, qwenPictures } from './qwen.ts'
import { transformer } from './transformer.ts'

/** Qwen2-VL: every patch sees every other. After llama.cpp's tools/mtmd (models/qwen2vl.cpp). */
export function qwen2vl(metadata: Metadata): Architecture {
  const pictures = qwenPictures(metadata)
  const tower = transformer(metadata, { rope: pictures.rope })
  return qwenEncoder('qwen2vl_merger', metadata, pictures, tower)
}
