import { type Value, writeGguf } from '../../../../bench/gguf-file.ts'
import { epsilon, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { bias, linear, matrix, norm, patches, towerLayers } from '../weights.ts'

const [width, feedForward, layers, patch, edge] = [64, 128, 2, 14, 70]

/** Heads of the resampler are 128 wide, whatever its width. */
const textWidth = 128

export const minicpmv25: Family = { name: 'resampler-2.5', write: (...files) => write(...files, 2, 6) }
export const minicpmv26: Family = { name: 'resampler-2.6', write: (...files) => write(...files, 3, 0) }
export const minicpmv4: Family = { name: 'resampler-4', write: (...files) => write(...files, 5, 8) }

/** @param queries 0: as many as the version has, of which the file says nothing */
function write(decoder: string, projector: string, version: number, queries: number): void {
  writeDecoder(decoder, { width: textWidth, specials: ['<image>', '</image>', '<slice>', '</slice>'] })
  const metadata: Record<string, Value> = {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'a test' },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'resampler' },
    'clip.minicpmv_version': { i32: version },
    'clip.minicpmv_query_num': { u32: queries },
    'clip.use_gelu': { bool: true },
    'clip.vision.image_size': { u32: edge },
    'clip.vision.patch_size': { u32: patch },
    'clip.vision.embedding_length': { u32: width },
    'clip.vision.feed_forward_length': { u32: feedForward },
    'clip.vision.block_count': { u32: layers },
    'clip.vision.attention.head_count': { u32: 2 },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: 0 },
    'clip.vision.image_mean': { f32: [0.5, 0.4, 0.5] },
    'clip.vision.image_std': { f32: [0.5, 0.5, 0.3] },
  }
  const tensors = [
    patches('v.patch_embd.weight', patch, width),
    bias('v.patch_embd.bias', width),
    { name: 'v.position_embd.weight', shape: [width, 70 * 70], fill: { exact: 0.3 } },
    ...norm('v.post_ln', width),
    ...towerLayers(layers, width, feedForward),
    { name: 'resampler.pos_embed_k', shape: [textWidth, 4], fill: { constant: 0 } },
    { name: 'resampler.query', shape: [textWidth, queries || 64], fill: { exact: 1 } },
    matrix('resampler.proj.weight', textWidth, textWidth),
    matrix('resampler.kv.weight', width, textWidth),
    ...['q', 'k', 'v', 'out'].flatMap((name) => linear(`resampler.attn.${name}`, textWidth, textWidth)),
    ...['q', 'kv', 'post'].flatMap((name) => norm(`resampler.ln_${name}`, textWidth)),
  ]
  writeGguf(projector, metadata, tensors, 8)
}
