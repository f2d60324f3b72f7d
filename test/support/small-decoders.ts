import { decoderOf, width as usualWidth } from '../encoders/oracle/decoder.ts'
import { bias, each, matrix, ones } from '../encoders/oracle/weights.ts'
import { type TensorPlan, type Value, writeGguf } from './gguf-file.ts'

const feedForward = 64
/** Heads of every small decoder. */
const heads = 2
/** Size of a head with latent attention. */
const head = 16

interface Plan {
  layers?: number
  /** Without the name of the architecture in front. */
  metadata?: Record<string, Value>
  /** Changes the tensors of a decoder of the llama type, layer by layer. */
  layer?: (layer: number, usual: readonly TensorPlan[], width: number) => TensorPlan[]
}

/**
 * Small decoders of random weights with the tensors of the models that people use. They complete those of the families in
 * `test/encoders/oracle`, some of which have a decoder of the llama type in place of their own.
 */
const plans: Readonly<Record<string, Plan>> = {
  qwen2: {
    layer: (layer, usual, width) => [
      ...usual,
      ...['attn_q', 'attn_k', 'attn_v'].map((name) => bias(`blk.${layer}.${name}.bias`, width)),
    ],
  },
  granite: {
    metadata: {
      logit_scale: { f32: 8 },
      embedding_scale: { f32: 12 },
      residual_scale: { f32: 0.22 },
      'attention.scale': { f32: 0.015625 },
    },
  },
  // Every second layer has experts.
  llama4: {
    layers: 4,
    metadata: { ...expertsOf(2), interleave_moe_layer_step: { u32: 2 } },
    layer: (layer, usual, width) =>
      layer % 2 === 0 ? [...usual] : [...withoutFeedForward(usual), ...experts(layer, width)],
  },
  'deepseek2-ocr': {
    layers: 2,
    metadata: { ...expertsOf(2), leading_dense_block_count: { u32: 1 }, expert_shared_count: { u32: 1 } },
    layer: (layer, usual, width) =>
      layer === 0 ? [...usual] : [...withoutFeedForward(usual), ...experts(layer, width)],
  },
  // By 27 layers llama.cpp knows the models whose queries are not compressed, as Kimi-VL's.
  deepseek2: {
    layers: 27,
    metadata: {
      ...expertsOf(2),
      leading_dense_block_count: { u32: 1 },
      expert_shared_count: { u32: 1 },
      'attention.head_count_kv': { u32: 1 },
      'attention.kv_lora_rank': { u32: head },
      'attention.key_length': { u32: head + head / 2 },
      'attention.value_length': { u32: head },
      'attention.key_length_mla': { u32: head + head / 2 },
      'attention.value_length_mla': { u32: head },
      'rope.dimension_count': { u32: head / 2 },
    },
    layer: (layer, usual, width) => {
      const others = layer === 0 ? usual : [...withoutFeedForward(usual), ...experts(layer, width)]
      return [...others.filter(({ name }) => !/attn_[qkv]\.weight$/.test(name)), ...latentAttention(layer, width)]
    },
  },
}

/** Architectures that `writeSmallDecoder` writes. */
export const smallDecoders: readonly string[] = Object.keys(plans)

/** @param architecture one of `smallDecoders` @param width numbers of an embedding */
export function writeSmallDecoder(file: string, architecture: string, width = usualWidth): void {
  const plan = plans[architecture]
  if (plan === undefined) throw new Error(`there is no small decoder of the architecture ${architecture}`)
  const { layers = 1, metadata: own = {}, layer: shape = (_, usual) => [...usual] } = plan
  const named = Object.fromEntries(Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value]))
  const { metadata, tensors } = decoderOf({ architecture, width, layers, specials: [], metadata: named })
  const around = tensors.filter(({ name }) => !name.startsWith('blk.'))
  const ofLayer = (layer: number) => tensors.filter(({ name }) => name.startsWith(`blk.${layer}.`))
  writeGguf(file, metadata, [...around, ...each(layers, (layer) => shape(layer, ofLayer(layer), width))], 1)
}

function expertsOf(count: number): Record<string, Value> {
  return {
    expert_count: { u32: count },
    expert_used_count: { u32: 1 },
    expert_feed_forward_length: { u32: feedForward },
  }
}

const withoutFeedForward = (tensors: readonly TensorPlan[]): TensorPlan[] =>
  tensors.filter(({ name }) => !/ffn_(gate|up|down)\.weight$/.test(name))

/** Two experts, and one that every token has. */
function experts(layer: number, width: number): TensorPlan[] {
  const part = (name: string) => `blk.${layer}.${name}.weight`
  const all = (name: string, inputs: number, outputs: number): TensorPlan => ({
    ...{ name: part(name), shape: [inputs, outputs, 2], fill: { exact: 1 / Math.sqrt(inputs) } },
  })
  return [
    matrix(part('ffn_gate_inp'), width, 2),
    all('ffn_gate_exps', width, feedForward),
    all('ffn_up_exps', width, feedForward),
    all('ffn_down_exps', feedForward, width),
    matrix(part('ffn_gate_shexp'), width, feedForward),
    matrix(part('ffn_up_shexp'), width, feedForward),
    matrix(part('ffn_down_shexp'), feedForward, width),
  ]
}

/** Keys and values of all heads are made from one short vector, which is what is kept. */
function latentAttention(layer: number, width: number): TensorPlan[] {
  const part = (name: string) => `blk.${layer}.${name}.weight`
  const rope = head / 2
  const perHead = (name: string): TensorPlan => ({
    ...{ name: part(name), shape: [head, head, heads], fill: { exact: 1 / Math.sqrt(head) } },
  })
  return [
    matrix(part('attn_q'), width, heads * (head + rope)),
    matrix(part('attn_kv_a_mqa'), width, head + rope),
    ones(part('attn_kv_a_norm'), head),
    perHead('attn_k_b'),
    perHead('attn_v_b'),
  ]
}
