import { byteAlphabet } from '../../../bench/random-model.ts'
import { type TensorPlan, type Value, writeGguf } from '../../support/gguf-file.ts'
import { each, matrix, ones } from './weights.ts'

/** The particulars of a small decoder. */
export interface DecoderPlan {
  /** `general.architecture`; by default llama. */
  architecture?: string
  /** Numbers in an embedding. */
  width?: number
  layers?: number
  /** Control tokens of the family, in addition to those of every decoder. */
  specials: readonly string[]
  /** Metadata that is added or overridden. */
  metadata?: Record<string, Value>
  /** Whether the gate and the other half of the feed-forward part are one matrix. */
  fused?: boolean
  /** Additional tensors of a layer. */
  more?: (layer: number) => TensorPlan[]
}

/** Numbers in an embedding of most small decoders. */
export const width = 32
export const epsilon = 1e-5
const heads = 2
const feedForward = 64

/** Writes a decoder whose vocabulary is bytes and control tokens. */
export function writeDecoder(file: string, plan: DecoderPlan): void {
  const { metadata, tensors } = decoderOf(plan)
  writeGguf(file, metadata, tensors, 1)
}

/** The metadata and tensors of a small decoder. */
export function decoderOf(plan: DecoderPlan): { metadata: Record<string, Value>; tensors: TensorPlan[] } {
  const { architecture = 'llama', layers = 1, width: embedding = width } = plan
  const specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...plan.specials]
  const tokens = [...specials, ...byteAlphabet(), 'ĊĊ']
  const metadata: Record<string, Value> = {
    'general.architecture': { string: architecture },
    'general.name': { string: 'a test' },
    [`${architecture}.vocab_size`]: { u32: tokens.length },
    [`${architecture}.context_length`]: { u32: 8192 },
    [`${architecture}.embedding_length`]: { u32: embedding },
    [`${architecture}.block_count`]: { u32: layers },
    [`${architecture}.feed_forward_length`]: { u32: feedForward },
    [`${architecture}.attention.head_count`]: { u32: heads },
    [`${architecture}.attention.layer_norm_rms_epsilon`]: { f32: epsilon },
    [`${architecture}.rope.dimension_count`]: { u32: embedding / heads },
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: 'smollm' },
    'tokenizer.ggml.tokens': { strings: tokens },
    'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => (id < specials.length ? 3 : 1)) },
    'tokenizer.ggml.merges': { strings: ['Ċ Ċ'] },
    'tokenizer.ggml.bos_token_id': { u32: 0 },
    'tokenizer.ggml.eos_token_id': { u32: 2 },
    'tokenizer.ggml.add_bos_token': { bool: false },
    ...plan.metadata,
  }
  const tensors = [
    matrix('token_embd.weight', embedding, tokens.length),
    ones('output_norm.weight', embedding),
    ...each(layers, (layer) => {
      const part = (name: string) => `blk.${layer}.${name}.weight`
      return [
        ones(part('attn_norm'), embedding),
        ones(part('ffn_norm'), embedding),
        ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].map((name) => matrix(part(name), embedding, embedding)),
        ...(plan.fused
          ? [matrix(part('ffn_up'), embedding, 2 * feedForward)]
          : [matrix(part('ffn_gate'), embedding, feedForward), matrix(part('ffn_up'), embedding, feedForward)]),
        matrix(part('ffn_down'), feedForward, embedding),
        ...(plan.more?.(layer) ?? []),
      ]
    }),
  ]
  return { metadata, tensors }
}
