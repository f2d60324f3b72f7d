import { type TensorPlan, type Value, writeGguf } from '../../../bench/gguf-file.ts'
import { byteAlphabet } from '../../../bench/model-files.ts'

/** Small models of random weights with the real names of tensors and keys. Equal calls write equal files. */

const text = { width: 32, layers: 1, heads: 2, feedForward: 64 }
const vision = { width: 64, layers: 2, heads: 2, feedForward: 128, patch: 16, edge: 64, factor: 2 }
const epsilon = 1e-5

const specials = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<fake_token_around_image>',
  '<global-img>',
  ...Array.from({ length: 64 }, (_, i) => `<row_${Math.floor(i / 8) + 1}_col_${(i % 8) + 1}>`),
]

/** @param longestEdge what the vision file says of it; 0: nothing, as files made before mid-2025 */
export function writeIdefics3(decoder: string, projector: string, longestEdge: number): void {
  writeGguf(decoder, decoderMetadata(), decoderTensors(), 1)
  writeGguf(projector, visionMetadata(longestEdge), visionTensors(), 2)
}

function decoderMetadata(): Record<string, Value> {
  const tokens = [...specials, ...byteAlphabet(), 'ĊĊ']
  return {
    'general.architecture': { string: 'llama' },
    'general.name': { string: 'a test' },
    'llama.vocab_size': { u32: tokens.length },
    'llama.context_length': { u32: 2048 },
    'llama.embedding_length': { u32: text.width },
    'llama.block_count': { u32: text.layers },
    'llama.feed_forward_length': { u32: text.feedForward },
    'llama.attention.head_count': { u32: text.heads },
    'llama.attention.layer_norm_rms_epsilon': { f32: epsilon },
    'llama.rope.dimension_count': { u32: text.width / text.heads },
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: 'smollm' },
    'tokenizer.ggml.tokens': { strings: tokens },
    'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => (id < specials.length ? 3 : 1)) },
    'tokenizer.ggml.merges': { strings: ['Ċ Ċ'] },
    'tokenizer.ggml.bos_token_id': { u32: 0 },
    'tokenizer.ggml.eos_token_id': { u32: 2 },
    'tokenizer.ggml.add_bos_token': { bool: false },
  }
}

function decoderTensors(): TensorPlan[] {
  const { width, feedForward } = text
  const block = (name: string) => `blk.0.${name}.weight`
  return [
    matrix('token_embd.weight', width, specials.length + 257),
    vector('output_norm.weight', width, 1),
    vector(block('attn_norm'), width, 1),
    vector(block('ffn_norm'), width, 1),
    matrix(block('attn_q'), width, width),
    matrix(block('attn_k'), width, width),
    matrix(block('attn_v'), width, width),
    matrix(block('attn_output'), width, width),
    matrix(block('ffn_gate'), width, feedForward),
    matrix(block('ffn_up'), width, feedForward),
    matrix(block('ffn_down'), feedForward, width),
  ]
}

function visionMetadata(longestEdge: number): Record<string, Value> {
  return {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'a test' },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'idefics3' },
    'clip.use_gelu': { bool: true },
    'clip.vision.image_size': { u32: vision.edge },
    ...(longestEdge > 0 ? { 'clip.vision.preproc_image_size': { u32: longestEdge } } : {}),
    'clip.vision.patch_size': { u32: vision.patch },
    'clip.vision.embedding_length': { u32: vision.width },
    'clip.vision.feed_forward_length': { u32: vision.feedForward },
    'clip.vision.block_count': { u32: vision.layers },
    'clip.vision.attention.head_count': { u32: vision.heads },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: text.width },
    'clip.vision.projector.scale_factor': { u32: vision.factor },
    'clip.vision.image_mean': { f32: [0.5, 0.4, 0.5] },
    'clip.vision.image_std': { f32: [0.5, 0.5, 0.3] },
  }
}

function visionTensors(): TensorPlan[] {
  const { width, feedForward, layers, patch, edge, factor } = vision
  const linear = (name: string, inputs: number, outputs: number) => [
    matrix(`${name}.weight`, inputs, outputs),
    vector(`${name}.bias`, outputs, 0),
  ]
  const norm = (name: string) => [vector(`${name}.weight`, width, 1), vector(`${name}.bias`, width, 0)]
  return [
    { name: 'v.patch_embd.weight', shape: [patch, patch, 3, width], fill: { exact: 0.05 } },
    vector('v.patch_embd.bias', width, 0),
    { name: 'v.position_embd.weight', shape: [width, (edge / patch) ** 2], fill: { exact: 0.3 } },
    ...norm('v.post_ln'),
    matrix('mm.model.fc.weight', width * factor * factor, text.width),
    ...Array.from({ length: layers }, (_, layer) => {
      const part = (name: string) => `v.blk.${layer}.${name}`
      return [
        ...norm(part('ln1')),
        ...norm(part('ln2')),
        ...['attn_q', 'attn_k', 'attn_v', 'attn_out'].flatMap((name) => linear(part(name), width, width)),
        ...linear(part('ffn_up'), width, feedForward),
        ...linear(part('ffn_down'), feedForward, width),
      ]
    }).flat(),
  ]
}

const matrix = (name: string, inputs: number, outputs: number): TensorPlan => ({
  name,
  shape: [inputs, outputs],
  fill: { exact: 1 / Math.sqrt(inputs) },
})

/** Around 1 or around 0. */
const vector = (name: string, width: number, around: 0 | 1): TensorPlan => ({
  name,
  shape: [width],
  fill: around === 0 ? { exact: 0.1 } : { constant: 1 },
})
