import { decoderOf, epsilon } from '../encoders/oracle/decoder.ts'
import { type TensorPlan, writeGguf } from './gguf-file.ts'

/** Numbers in an embedding of the small models. */
export const dimensions = 64
/** The longest text that the small BERT embeds, in tokens. */
export const longest = 128

const heads = 4
const layers = 2
const feedForward = 96

const random = (name: string, ...shape: number[]): TensorPlan => ({ name, shape, fill: { exact: 0.2 } })
const norm = (name: string): TensorPlan[] => [
  { name: `${name}.weight`, shape: [dimensions], fill: { constant: 1 } },
  random(`${name}.bias`, dimensions),
]
const linear = (name: string, inputs: number, outputs: number): TensorPlan[] => [
  random(`${name}.weight`, inputs, outputs),
  random(`${name}.bias`, outputs),
]

/** Letters and digits at the beginning of a word and in it. */
const characters = [...'abcdefghijklmnopqrstuvwxyz0123456789.,?!:']
const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...characters.map((one) => `▁${one}`), ...characters]

/** Writes a BERT with random weights, whose words are spelt. @param pooling as `enum llama_pooling_type` has it: 1 mean, 2 cls */
export function writeBert(file: string, pooling: number | null = 2): void {
  const part = (layer: number, name: string) => `blk.${layer}.${name}`
  const tensors = [
    random('token_embd.weight', dimensions, words.length),
    random('token_types.weight', dimensions, 2),
    random('position_embd.weight', dimensions, longest),
    ...norm('token_embd_norm'),
    ...Array.from({ length: layers }, (_, layer) => [
      ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].flatMap((name) =>
        linear(part(layer, name), dimensions, dimensions),
      ),
      ...norm(part(layer, 'attn_output_norm')),
      ...linear(part(layer, 'ffn_up'), dimensions, feedForward),
      ...linear(part(layer, 'ffn_down'), feedForward, dimensions),
      ...norm(part(layer, 'layer_output_norm')),
    ]).flat(),
  ]
  writeGguf(
    file,
    {
      'general.architecture': { string: 'bert' },
      'general.name': { string: 'A small BERT' },
      'bert.vocab_size': { u32: words.length },
      'bert.context_length': { u32: longest },
      'bert.embedding_length': { u32: dimensions },
      'bert.block_count': { u32: layers },
      'bert.feed_forward_length': { u32: feedForward },
      'bert.attention.head_count': { u32: heads },
      'bert.attention.layer_norm_epsilon': { f32: epsilon },
      'bert.attention.causal': { bool: false },
      ...(pooling === null ? {} : { 'bert.pooling_type': { u32: pooling } }),
      'tokenizer.ggml.model': { string: 'bert' },
      'tokenizer.ggml.tokens': { strings: words },
      'tokenizer.ggml.token_type': { i32: words.map((_, id) => (id < 5 ? 3 : 1)) },
      'tokenizer.ggml.token_type_count': { u32: 2 },
      'tokenizer.ggml.padding_token_id': { u32: 0 },
      'tokenizer.ggml.unknown_token_id': { u32: 1 },
      'tokenizer.ggml.bos_token_id': { u32: 2 },
      'tokenizer.ggml.seperator_token_id': { u32: 3 },
      'tokenizer.ggml.mask_token_id': { u32: 4 },
    },
    tensors,
    7,
  )
}

/** Writes a Qwen3 that embeds, with random weights. Its vocabulary is bytes. */
export function writeQwen3(file: string): void {
  const { metadata, tensors } = decoderOf({
    architecture: 'qwen3',
    width: dimensions,
    layers,
    specials: [],
    more: (layer) =>
      ['attn_q_norm', 'attn_k_norm'].map((name) => ({
        name: `blk.${layer}.${name}.weight`,
        shape: [dimensions / 2],
        fill: { constant: 1 },
      })),
    metadata: {
      'general.name': { string: 'A small Qwen3 embedder' },
      'qwen3.pooling_type': { u32: 3 },
      'tokenizer.ggml.pre': { string: 'qwen2' },
      'tokenizer.ggml.add_eos_token': { bool: true },
    },
  })
  writeGguf(file, metadata, tensors, 7)
}
