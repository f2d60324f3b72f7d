import { decoderOf, width as usualWidth } from '../encoders/oracle/decoder.ts'
import { bias, each, matrix, ones } from '../encoders/oracle/weights.ts'
import { type TensorPlan, type Value, writeGguf } from './gguf-file.ts'

const feedForward = 64
/** Heads of every small decoder. */
const heads = 2
/** Size of a head. */
const head = 16
/** Tokens of a window. */
const window = 64
/** Heads of a layer with a state. */
const stateHeads = 4

interface Plan {
  layers?: number
  /** Whether the vocabulary has other vectors at the end than at the beginning. */
  output?: boolean
  /** Without the name of the architecture in front. */
  metadata?: Record<string, Value>
  /** Changes the tensors of a decoder of the llama type, layer by layer. */
  layer?: (layer: number, usual: readonly TensorPlan[], width: number) => TensorPlan[]
}

/**
 * Small decoders of random weights with the tensors of the models that people use, for the families in
 * `test/encoders/oracle`, and those of the catalogue.
 */
const plans: Readonly<Record<string, Plan>> = {
  qwen2: {
    layer: (layer, usual, width) => [
      ...usual,
      ...['attn_q', 'attn_k', 'attn_v'].map((name) => bias(`blk.${layer}.${name}.bias`, width)),
    ],
  },
  qwen3: { layer: (layer, usual) => [...usual, ...headNorms(layer)] },
  // Without deepstack layers, as Qwen3-ASR has it.
  qwen3vl: {
    metadata: { 'rope.dimension_sections': { i32: [3, 3, 2, 0] } },
    layer: (layer, usual) => [...usual, ...headNorms(layer)],
  },
  qwen3vlmoe: {
    layers: 3,
    metadata: {
      ...expertsOf(2),
      'rope.dimension_sections': { i32: [3, 3, 2, 0] },
      n_deepstack_layers: { u32: 2 },
    },
    layer: (layer, usual, width) => [
      ...withoutFeedForward(usual),
      ...headNorms(layer),
      ...experts(layer, width).filter(({ name }) => !/shexp/.test(name)),
    ],
  },
  // Norms follow attention and the feed-forward part.
  exaone4: {
    layers: 2,
    layer: (layer, usual, width) => [
      ...usual.filter(({ name }) => !/norm\.weight$/.test(name)),
      ...headNorms(layer),
      ...normsAfter(layer, width),
    ],
  },
  'muse-glimmer': {
    layers: 4,
    metadata: { 'attention.sliding_window': { u32: window }, logit_scale: { f32: 0.5 } },
    output: true,
    layer: (layer, usual, width) => [
      ...usual,
      ...headNorms(layer),
      ...normsAfter(layer, width),
      matrix(`blk.${layer}.attn_gate.weight`, width, width),
    ],
  },
  // The first layer has a window and sinks, the second experts.
  mimo2: {
    layers: 2,
    metadata: {
      ...expertsOf(2),
      'attention.sliding_window': { u32: window },
      'attention.sliding_window_pattern': { i32: [1, 0] },
    },
    output: true,
    layer: (layer, usual, width) =>
      layer === 0
        ? [...usual, { name: 'blk.0.attn_sinks.weight', shape: [heads], fill: { exact: 1 } }]
        : [...withoutFeedForward(usual), ...experts(layer, width).filter(({ name }) => !/shexp/.test(name))],
  },
  // The second layer attends to the best blocks of tokens.
  'minimax-m3': {
    layers: 2,
    metadata: {
      ...expertsOf(2),
      leading_dense_block_count: { u32: 1 },
      expert_shared_count: { u32: 1 },
      expert_gating_func: { u32: 2 },
      'attention.indexer.head_count': { u32: heads },
      'attention.indexer.key_length': { u32: head },
      'attention.indexer.top_k': { u32: 4 },
      'attention.indexer.block_size': { u32: 16 },
      'attention.indexer.local_blocks': { u32: 1 },
    },
    output: true,
    layer: (layer, usual, width) =>
      layer === 0
        ? [...usual, ...headNorms(layer)]
        : [
            ...withoutFeedForward(usual),
            ...headNorms(layer),
            ...experts(layer, width),
            bias('blk.1.exp_probs_b.bias', 2),
            matrix('blk.1.indexer.q_proj.weight', width, heads * head),
            matrix('blk.1.indexer.k_proj.weight', width, head),
            ...['q_norm', 'k_norm'].map((name) => ones(`blk.1.indexer.${name}.weight`, head)),
          ],
  },
  // A layer with a state, one of attention, and one that is only feed-forward.
  nemotron_h: {
    layers: 3,
    metadata: {
      'attention.head_count_kv': { i32: [0, heads, 0] },
      feed_forward_length: { i32: [0, 0, feedForward] },
      'attention.layer_norm_epsilon': { f32: 1e-5 },
      'ssm.conv_kernel': { u32: 4 },
      'ssm.inner_size': { u32: 2 * usualWidth },
      'ssm.state_size': { u32: head },
      'ssm.time_step_rank': { u32: stateHeads },
      'ssm.group_count': { u32: 1 },
    },
    layer(layer, usual, width) {
      const has = (names: RegExp) => usual.filter(({ name }) => names.test(name))
      if (layer === 1) return has(/attn_/)
      return [...has(/attn_norm/), ...(layer === 0 ? stateSpace(layer, width) : has(/ffn_(up|down)/))]
    },
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

/**
 * @param architecture one of `smallDecoders`
 * @param width numbers of an embedding
 * @param specials control tokens of the family
 */
export function writeSmallDecoder(
  file: string,
  architecture: string,
  { width = usualWidth, specials = [] }: { width?: number; specials?: readonly string[] } = {},
): void {
  const plan = plans[architecture]
  if (plan === undefined) throw new Error(`there is no small decoder of the architecture ${architecture}`)
  const { layers = 1, output = false, metadata: own = {}, layer: shape = (_, usual) => [...usual] } = plan
  const named = Object.fromEntries(Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value]))
  const { metadata, tensors } = decoderOf({ architecture, width, layers, specials, metadata: named })
  const outside = tensors.filter(({ name }) => !name.startsWith('blk.'))
  const around = output ? outside.flatMap((tensor) => withOutput(tensor)) : outside
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

/** The vectors of the vocabulary, and as many for the end. */
const withOutput = (tensor: TensorPlan): TensorPlan[] =>
  tensor.name === 'token_embd.weight' ? [tensor, { ...tensor, name: 'output.weight' }] : [tensor]

const headNorms = (layer: number): TensorPlan[] =>
  ['attn_q_norm', 'attn_k_norm'].map((name) => ones(`blk.${layer}.${name}.weight`, head))

const normsAfter = (layer: number, width: number): TensorPlan[] =>
  ['post_attention_norm', 'post_ffw_norm'].map((name) => ones(`blk.${layer}.${name}.weight`, width))

/** Mamba 2. */
function stateSpace(layer: number, width: number): TensorPlan[] {
  const part = (name: string) => `blk.${layer}.${name}`
  const inner = 2 * width
  const mixed = inner + 2 * head
  return [
    matrix(part('ssm_in.weight'), width, inner + mixed + stateHeads),
    matrix(part('ssm_conv1d.weight'), 4, mixed),
    bias(part('ssm_conv1d.bias'), mixed),
    bias(part('ssm_dt.bias'), stateHeads),
    { name: part('ssm_a'), shape: [1, stateHeads], fill: { constant: -0.5 } },
    { name: part('ssm_d'), shape: [1, stateHeads], fill: { constant: 0.5 } },
    ones(part('ssm_norm.weight'), inner),
    matrix(part('ssm_out.weight'), inner, width),
  ]
}
