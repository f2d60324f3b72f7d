import path from 'node:path'
import { unsupportedModel } from '../../errors.ts'
import { type GgufHeader, type Metadata, metadataOf } from '../../gguf/index.ts'
import type { AttentionShape, Rope } from './tape.ts'

/** A decoder that can be trained: RMS norms, rotary positions and SwiGLU in every layer, and no experts. */
export interface Architecture {
  readonly name: string
  readonly layers: number
  readonly width: number
  readonly vocabulary: number
  readonly epsilon: number
  readonly attention: AttentionShape
  readonly rope: Rope
  /** Positions of a cell: 4 with M-RoPE. */
  readonly axes: 1 | 4
  /** Whether queries and keys of a layer are turned at all. */
  readonly isTurned: (layer: number) => boolean
  /** Layers after which rows of attachments are added, whose encoder gives them beside the embeddings. */
  readonly deepstack: number
  readonly metadata: Metadata
}

/** The seven linear parts of a layer, by their names in transformers. */
export const linearParts = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
] as const

/** `GGML_ROPE_TYPE_…` by architecture: `llama_model_rope_type` of llama.cpp's src/llama-model.cpp. */
const ropeModes: Readonly<Record<string, number>> = {
  llama: 0,
  mistral3: 0,
  smollm3: 0,
  qwen2: 2,
  qwen2vl: 8,
  qwen3: 2,
  qwen3vl: 40,
}
const withSections: ReadonlySet<string> = new Set(['qwen2vl', 'qwen3vl'])
const withHeadNorms: ReadonlySet<string> = new Set(['qwen3', 'qwen3vl'])

const layerTensors =
  /^blk\.\d+\.(attn_norm\.weight|ffn_norm\.weight|(attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up|ffn_down)\.(weight|bias))$/
const headNorms = /^blk\.\d+\.attn_[qk]_norm\.weight$/
const otherTensors: ReadonlySet<string> = new Set([
  'token_embd.weight',
  'output_norm.weight',
  'output.weight',
  'rope_freqs.weight',
])

/**
 * @param file the decoder's path
 * @throws OrielError `invalid` for a decoder that this trainer cannot train, with what can be done instead
 */
export function architectureOf(header: GgufHeader, file: string): Architecture {
  const metadata = metadataOf(header, path.basename(file))
  const name = metadata.string('general.architecture')
  const mode = ropeModes[name]
  const refused = (why: string) =>
    unsupportedModel(
      `The built-in trainer cannot train ${why}. It trains decoders of the architectures ${Object.keys(ropeModes).join(', ')}. For others configure an external trainer (ORIEL_TRAINER).`,
    )
  if (mode === undefined) throw refused(`models of the architecture ${name}`)
  const number = (key: string, fallback?: number): number => metadata.number(`${name}.${key}`, fallback)
  if (number('expert_count', 0) > 0) throw refused(`models with experts, as this ${name} is one`)
  if (metadata.number('split.count', 1) > 1) throw refused('models whose decoder is in several files')
  const scaling = metadata.string(`${name}.rope.scaling.type`, 'linear')
  if (scaling !== 'none' && scaling !== 'linear') throw refused(`models whose positions are scaled by ${scaling}`)
  if (number('attention.temperature_scale', 0) !== 0) throw refused('models with a temperature of attention')
  const strange = metadata.tensorNames.find(
    (tensor) =>
      !otherTensors.has(tensor) && !layerTensors.test(tensor) && !(withHeadNorms.has(name) && headNorms.test(tensor)),
  )
  if (strange !== undefined) throw refused(`a ${name} with the tensor ${strange}`)
  const heads = number('attention.head_count')
  const width = number('embedding_length')
  const head = number('attention.key_length', width / heads)
  if (number('attention.value_length', head) !== head) throw refused('models whose keys and values differ in size')
  const layers = number('block_count')
  const factor = number('rope.scaling.factor', number('rope.scale_linear', 0))
  const isLinear = scaling === 'linear' && factor > 0
  const step = name === 'smollm3' ? 4 : 0
  return {
    name,
    layers,
    width,
    vocabulary: metadata.needTensor('token_embd.weight').rows,
    epsilon: number('attention.layer_norm_rms_epsilon'),
    attention: {
      heads,
      keyHeads: number('attention.head_count_kv', heads),
      head,
      scale: number('attention.scale', 0) || 1 / Math.sqrt(head),
    },
    rope: {
      mode,
      dims: number('rope.dimension_count', head),
      base: number('rope.freq_base', 10_000),
      scale: isLinear ? 1 / factor : 1,
      sections: withSections.has(name) ? sectionsOf(metadata.integers(`${name}.rope.dimension_sections`)) : null,
    },
    axes: withSections.has(name) ? 4 : 1,
    // SmolLM3: every fourth layer has none.
    isTurned: (layer) => step === 0 || (layer + 1) % step !== 0,
    deepstack: name === 'qwen3vl' ? number('n_deepstack_layers', 0) : 0,
    metadata,
  }
}

const sectionsOf = (sections: readonly number[]): Int32Array =>
  Int32Array.from({ length: 4 }, (_, axis) => sections[axis] ?? 0)
