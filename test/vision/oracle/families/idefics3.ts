import { type Value, writeGguf } from '../../../../bench/gguf-file.ts'
import { epsilon, width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { bias, matrix, norm, patches, towerLayers } from '../weights.ts'

const [width, feedForward, layers, patch, edge, factor] = [64, 128, 2, 16, 64, 2]

const specials = [
  '<fake_token_around_image>',
  '<global-img>',
  ...Array.from({ length: 64 }, (_, i) => `<row_${Math.floor(i / 8) + 1}_col_${(i % 8) + 1}>`),
]

export const idefics3: Family = { name: 'idefics3', write: (...files) => write(...files, 128) }

/** Files made before mid-2025 do not say how far a picture is enlarged. */
export const oldIdefics3: Family = { name: 'idefics3-old', write: (...files) => write(...files, 0) }

function write(decoder: string, projector: string, longestEdge: number): void {
  writeDecoder(decoder, { specials })
  const metadata: Record<string, Value> = {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'a test' },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'idefics3' },
    'clip.use_gelu': { bool: true },
    'clip.vision.image_size': { u32: edge },
    ...(longestEdge > 0 ? { 'clip.vision.preproc_image_size': { u32: longestEdge } } : {}),
    'clip.vision.patch_size': { u32: patch },
    'clip.vision.embedding_length': { u32: width },
    'clip.vision.feed_forward_length': { u32: feedForward },
    'clip.vision.block_count': { u32: layers },
    'clip.vision.attention.head_count': { u32: 2 },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: textWidth },
    'clip.vision.projector.scale_factor': { u32: factor },
    'clip.vision.image_mean': { f32: [0.5, 0.4, 0.5] },
    'clip.vision.image_std': { f32: [0.5, 0.5, 0.3] },
  }
  const tensors = [
    patches('v.patch_embd.weight', patch, width),
    ...norm('v.post_ln', width),
    bias('v.patch_embd.bias', width),
    { name: 'v.position_embd.weight', shape: [width, (edge / patch) ** 2], fill: { exact: 0.3 } },
    matrix('mm.model.fc.weight', width * factor * factor, textWidth),
    ...towerLayers(layers, width, feedForward),
  ]
  writeGguf(projector, metadata, tensors, 2)
}
