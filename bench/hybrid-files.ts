import type { TensorPlan, Value } from '../test/support/gguf-file.ts'
import { each, linear, matrix, norm, ones, tokenEmbeddings, tokenizer, zeros } from './random-model.ts'

/** Qwen3.5-0.8B. Every fourth layer has attention, with a gate; the others have linear attention. */
const decoder = { layers: 24, interval: 4, width: 1024, feedForward: 3584 }
const attention = { heads: 8, keyHeads: 2, head: 256 }
const linearAttention = { kernel: 4, heads: 16, state: 128 }
const inner = linearAttention.heads * linearAttention.state

const vision = { layers: 12, width: 768, feedForward: 3072, heads: 12, patch: 16, places: 48 }
const joined = vision.width * 4

const epsilon = 1e-6

const specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>', '<|image_pad|>']

/** The shape of Qwen3.5-0.8B. @param vocabulary it has 248,320 tokens */
export const hybrid = (vocabulary: number) => ({
  decoder: { metadata: () => decoderMetadata(vocabulary), tensors: () => decoderTensors(vocabulary) },
  projector: { metadata: visionMetadata, tensors: visionTensors },
})

function decoderMetadata(vocabulary: number): Record<string, Value> {
  const { kernel, heads, state } = linearAttention
  return {
    'general.architecture': { string: 'qwen35' },
    'general.name': { string: 'Qwen3.5-0.8B shape' },
    'general.file_type': { u32: 7 },
    'qwen35.vocab_size': { u32: vocabulary },
    'qwen35.context_length': { u32: 262_144 },
    'qwen35.embedding_length': { u32: decoder.width },
    'qwen35.block_count': { u32: decoder.layers },
    'qwen35.feed_forward_length': { u32: decoder.feedForward },
    'qwen35.attention.head_count': { u32: attention.heads },
    'qwen35.attention.head_count_kv': { u32: attention.keyHeads },
    'qwen35.attention.key_length': { u32: attention.head },
    'qwen35.attention.value_length': { u32: attention.head },
    'qwen35.attention.layer_norm_rms_epsilon': { f32: epsilon },
    'qwen35.full_attention_interval': { u32: decoder.interval },
    'qwen35.rope.freq_base': { f32: 10_000_000 },
    'qwen35.rope.dimension_count': { u32: 64 },
    'qwen35.rope.dimension_sections': { i32: [11, 11, 10, 0] },
    'qwen35.ssm.conv_kernel': { u32: kernel },
    'qwen35.ssm.inner_size': { u32: inner },
    'qwen35.ssm.state_size': { u32: state },
    'qwen35.ssm.time_step_rank': { u32: heads },
    'qwen35.ssm.group_count': { u32: heads },
    ...tokenizer(specials, vocabulary, 'qwen2'),
  }
}

function decoderTensors(tokens: number): TensorPlan[] {
  const { width, feedForward, layers, interval } = decoder
  return [
    tokenEmbeddings(width, tokens, specials, 0.02),
    ones('output_norm.weight', width),
    ...each(layers, (layer) => [
      ones(`blk.${layer}.attn_norm.weight`, width),
      ones(`blk.${layer}.post_attention_norm.weight`, width),
      ...((layer + 1) % interval === 0 ? attentionOf(layer) : linearAttentionOf(layer)),
      matrix(`blk.${layer}.ffn_gate.weight`, width, feedForward),
      matrix(`blk.${layer}.ffn_up.weight`, width, feedForward),
      matrix(`blk.${layer}.ffn_down.weight`, feedForward, width),
    ]),
  ]
}

function attentionOf(layer: number): TensorPlan[] {
  const { heads, keyHeads, head } = attention
  const part = (name: string) => `blk.${layer}.attn_${name}.weight`
  return [
    matrix(part('q'), decoder.width, 2 * heads * head),
    matrix(part('k'), decoder.width, keyHeads * head),
    matrix(part('v'), decoder.width, keyHeads * head),
    matrix(part('output'), heads * head, decoder.width),
    ones(part('q_norm'), head),
    ones(part('k_norm'), head),
  ]
}

function linearAttentionOf(layer: number): TensorPlan[] {
  const { kernel, heads, state } = linearAttention
  const { width } = decoder
  const part = (name: string) => `blk.${layer}.${name}`
  return [
    matrix(part('attn_qkv.weight'), width, 3 * inner),
    matrix(part('attn_gate.weight'), width, inner),
    { name: part('ssm_conv1d.weight'), shape: [kernel, 3 * inner], fill: { exact: 0.5 } },
    zeros(part('ssm_dt.bias'), heads),
    { name: part('ssm_a'), shape: [heads], fill: { constant: -0.5 } },
    matrix(part('ssm_beta.weight'), width, heads),
    matrix(part('ssm_alpha.weight'), width, heads),
    ones(part('ssm_norm.weight'), state),
    matrix(part('ssm_out.weight'), inner, width),
  ]
}

function visionMetadata(): Record<string, Value> {
  return {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'Qwen3.5-0.8B shape' },
    'general.type': { string: 'mmproj' },
    'general.file_type': { u32: 7 },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'qwen3vl_merger' },
    'clip.use_gelu': { bool: true },
    'clip.vision.image_size': { u32: vision.places * vision.patch },
    'clip.vision.patch_size': { u32: vision.patch },
    'clip.vision.spatial_merge_size': { u32: 2 },
    'clip.vision.embedding_length': { u32: vision.width },
    'clip.vision.feed_forward_length': { u32: vision.feedForward },
    'clip.vision.block_count': { u32: vision.layers },
    'clip.vision.attention.head_count': { u32: vision.heads },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: decoder.width },
    'clip.vision.image_mean': { f32: [0.5, 0.5, 0.5] },
    'clip.vision.image_std': { f32: [0.5, 0.5, 0.5] },
  }
}

function visionTensors(): TensorPlan[] {
  const { width, feedForward, layers, patch, places } = vision
  return [
    // Convolutions and positions are never quantized.
    ...['weight', 'weight.1'].map(
      (name): TensorPlan => ({
        name: `v.patch_embd.${name}`,
        shape: [patch, patch, 3, width],
        fill: { exact: 0.02 },
      }),
    ),
    zeros('v.patch_embd.bias', width),
    { name: 'v.position_embd.weight', shape: [width, places ** 2], fill: { exact: 0.2 } },
    ...norm('v.post_ln', width),
    ...linear('mm.0', joined, joined),
    ...linear('mm.2', joined, decoder.width),
    ...each(layers, (layer) => {
      const part = (name: string) => `v.blk.${layer}.${name}`
      return [
        ...norm(part('ln1'), width),
        ...norm(part('ln2'), width),
        ...linear(part('attn_qkv'), width, 3 * width),
        ...linear(part('attn_out'), width, width),
        ...linear(part('ffn_up'), width, feedForward),
        ...linear(part('ffn_down'), feedForward, width),
      ]
    }),
  ]
}
