import type { TensorPlan, Value } from '../test/support/gguf-file.ts'
import { each, linear, matrix, ones, tokenEmbeddings, tokenizer, zeros } from './random-model.ts'

/** Qwen2.5-3B. */
const decoder = { layers: 36, width: 2048, feedForward: 11008, heads: 16, keyHeads: 2, vocabulary: 151936 }
const head = decoder.width / decoder.heads

/** Every eighth layer has full attention, the others window attention. */
const vision = { layers: 32, width: 1280, feedForward: 3420, heads: 16, patch: 14, pattern: 8 }
const joined = vision.width * 4

const epsilon = 1e-6

const specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>', '<|image_pad|>']

/** The shape of Qwen2.5-VL-3B-Instruct. Matrices are Q8_0, except those whose rows are not a multiple of 32. */
export const qwen = {
  decoder: { metadata: decoderMetadata, tensors: decoderTensors },
  projector: { metadata: visionMetadata, tensors: visionTensors },
}

function decoderMetadata(): Record<string, Value> {
  return {
    'general.architecture': { string: 'qwen2vl' },
    'general.name': { string: 'Qwen2.5-VL-3B shape' },
    'general.file_type': { u32: 7 },
    'qwen2vl.vocab_size': { u32: decoder.vocabulary },
    'qwen2vl.context_length': { u32: 128_000 },
    'qwen2vl.embedding_length': { u32: decoder.width },
    'qwen2vl.block_count': { u32: decoder.layers },
    'qwen2vl.feed_forward_length': { u32: decoder.feedForward },
    'qwen2vl.attention.head_count': { u32: decoder.heads },
    'qwen2vl.attention.head_count_kv': { u32: decoder.keyHeads },
    'qwen2vl.attention.layer_norm_rms_epsilon': { f32: epsilon },
    'qwen2vl.rope.freq_base': { f32: 1_000_000 },
    'qwen2vl.rope.dimension_sections': { i32: [16, 24, 24, 0] },
    ...tokenizer(specials, decoder.vocabulary, 'qwen2'),
  }
}

function decoderTensors(): TensorPlan[] {
  const { width, feedForward, layers, vocabulary: tokens, keyHeads } = decoder
  return [
    tokenEmbeddings(width, tokens, specials, 0.02),
    ones('output_norm.weight', width),
    ...each(layers, (layer) => {
      const part = (name: string) => `blk.${layer}.${name}`
      return [
        ones(`${part('attn_norm')}.weight`, width),
        ones(`${part('ffn_norm')}.weight`, width),
        ...linear(part('attn_q'), width, width),
        ...linear(part('attn_k'), width, head * keyHeads),
        ...linear(part('attn_v'), width, head * keyHeads),
        matrix(`${part('attn_output')}.weight`, width, width),
        matrix(`${part('ffn_gate')}.weight`, width, feedForward),
        matrix(`${part('ffn_up')}.weight`, width, feedForward),
        matrix(`${part('ffn_down')}.weight`, feedForward, width),
      ]
    }),
  ]
}

function visionMetadata(): Record<string, Value> {
  return {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'Qwen2.5-VL-3B shape' },
    'general.type': { string: 'mmproj' },
    'general.file_type': { u32: 7 },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'qwen2.5vl_merger' },
    'clip.use_silu': { bool: true },
    'clip.vision.image_size': { u32: 560 },
    'clip.vision.patch_size': { u32: vision.patch },
    'clip.vision.embedding_length': { u32: vision.width },
    'clip.vision.feed_forward_length': { u32: vision.feedForward },
    'clip.vision.block_count': { u32: vision.layers },
    'clip.vision.attention.head_count': { u32: vision.heads },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: decoder.width },
    'clip.vision.n_wa_pattern': { u32: vision.pattern },
    'clip.vision.image_mean': { f32: [0.481, 0.458, 0.408] },
    'clip.vision.image_std': { f32: [0.269, 0.261, 0.276] },
  }
}

function visionTensors(): TensorPlan[] {
  const { width, feedForward, layers, patch } = vision
  return [
    ...['v.patch_embd.weight', 'v.patch_embd.weight.1'].map((name) => ({
      name,
      shape: [patch, patch, 3, width],
      fill: { half: 0.02 },
    })),
    ones('v.post_ln.weight', width),
    ...linear('mm.0', joined, joined),
    ...linear('mm.2', joined, decoder.width),
    ...each(layers, (layer) => {
      const part = (name: string) => `v.blk.${layer}.${name}`
      return [
        ones(`${part('ln1')}.weight`, width),
        ones(`${part('ln2')}.weight`, width),
        ...['attn_q', 'attn_k', 'attn_v', 'attn_out'].flatMap((name) => linear(part(name), width, width)),
        ...['ffn_gate', 'ffn_up'].flatMap((name) => linear(part(name), width, feedForward)),
        {
          name: `${part('ffn_down')}.weight`,
          shape: [feedForward, width],
          fill: { half: 0.7 / Math.sqrt(feedForward) },
        },
        zeros(`${part('ffn_down')}.bias`, width),
      ]
    }),
  ]
}
