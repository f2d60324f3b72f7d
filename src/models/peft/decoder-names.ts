import { unsupportedModel } from '../../errors.ts'
import type { Metadata } from '../../gguf/index.ts'
import { shown } from './safetensors.ts'
import { inPairs, partOf, type Target } from './target.ts'

/**
 * The matrices of llama.cpp's decoders by the names of modules in transformers, as far as llama.cpp multiplies them with an
 * adapter. After gguf-py/gguf/tensor_mapping.py and conversion/*.py of llama.cpp v0.5.0.
 */
const inLayer: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.out_proj': 'attn_output', // LFM2
  'self_attn.qkv_proj': 'attn_qkv', // Phi-3
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'mlp.gate_up_proj': 'ffn_up', // Phi-3
  'mlp.gate': 'ffn_gate_inp',
  'mlp.shared_expert.gate_proj': 'ffn_gate_shexp',
  'mlp.shared_expert.up_proj': 'ffn_up_shexp',
  'mlp.shared_expert.down_proj': 'ffn_down_shexp',
  'feed_forward.w1': 'ffn_gate', // LFM2
  'feed_forward.w3': 'ffn_up',
  'feed_forward.w2': 'ffn_down',
  'conv.in_proj': 'shortconv.in_proj',
  'conv.out_proj': 'shortconv.out_proj',
  'linear_attn.in_proj_qkv': 'attn_qkv', // Qwen3.5
  'linear_attn.in_proj_z': 'attn_gate',
  'linear_attn.in_proj_a': 'ssm_alpha',
  'linear_attn.in_proj_b': 'ssm_beta',
  'linear_attn.out_proj': 'ssm_out',
  'mamba.in_proj': 'ssm_in', // Granite 4
  'mamba.out_proj': 'ssm_out',
  'shared_mlp.output_linear': 'ffn_down',
  per_layer_input_gate: 'inp_gate', // Gemma 3n and 4
  per_layer_projection: 'proj',
}

const outside: Readonly<Record<string, string>> = { embed_tokens: 'token_embd', lm_head: 'output' }

/** Architectures whose converters bring the rows of queries and keys into another order. */
const paired: ReadonlySet<string> = new Set(
  'llama mistral3 granite granitemoe granitehybrid smollm3 arcee nanbeige'.split(' '),
)
/** Architectures whose converters leave them as they are. */
const unchanged: ReadonlySet<string> = new Set(
  `llama4 qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe qwen35 qwen35moe
  gemma gemma2 gemma3 gemma3n gemma4 phi3 lfm2 lfm2moe`.split(/\s+/),
)

/**
 * The matrices of the decoder that a module stands for.
 * @param module its name in transformers, without what precedes the model
 * @param base the decoder's header
 * @throws OrielError `invalid` for an architecture or a module that is not known
 */
export function decoderTargets(module: string, architecture: string, base: Metadata): readonly Target[] {
  if (!paired.has(architecture) && !unchanged.has(architecture))
    throw unsupportedModel(
      `Adapters in the format of PEFT are not supported for the architecture ${architecture}. llama.cpp's convert_lora_to_gguf.py may convert it to GGUF.`,
    )
  const plain = module.replace(/\b(language_model|text_model|thinker|lfm)\./g, '').replace(/^(model\.)+/, '')
  const top = outside[plain]
  if (top !== undefined) return [{ matrix: top }]
  const [, number = '', part = ''] = /^layers\.(\d{1,3})\.(.+)$/.exec(plain) ?? []
  const layer = Number(number)
  const matrix = inLayer[part]
  const blk = `blk.${layer}`
  if (part === 'shared_mlp.input_linear')
    return ['ffn_gate', 'ffn_up'].map((name, index) => ({ matrix: `${blk}.${name}`, rows: partOf(index, 2) }))
  if (matrix === undefined)
    throw unsupportedModel(`It changes ${shown(module)}, which has no counterpart in ${architecture}.`)
  return [{ matrix: `${blk}.${matrix}`, ...orderOf(part, layer, architecture, base) }]
}

function orderOf(part: string, layer: number, architecture: string, base: Metadata): Omit<Target, 'matrix'> {
  const heads = (key: string, fallback?: number): number =>
    base.ofLayer(`${architecture}.attention.${key}`, layer, fallback)
  if (paired.has(architecture)) {
    if (part === 'self_attn.q_proj') return { rows: inPairs(heads('head_count')) }
    if (part === 'self_attn.k_proj') return { rows: inPairs(heads('head_count_kv', 0) || heads('head_count')) }
  }
  return part.startsWith('linear_attn.') ? tiled(part, architecture, base) : {}
}

/**
 * Heads of values are grouped by their heads of keys in transformers, and tiled in llama.cpp: `_reorder_v_heads` of its
 * conversion/qwen.py.
 */
function tiled(part: string, architecture: string, base: Metadata): Omit<Target, 'matrix'> {
  const fact = (key: string): number => base.number(`${architecture}.ssm.${key}`)
  const [keys, values] = [fact('group_count'), fact('time_step_rank')]
  if (keys === values) return {}
  const each = values / keys
  const head = fact('inner_size') / values
  const order =
    (size: number, before = 0) =>
    (count: number): Int32Array =>
      Int32Array.from({ length: count }, (_, at) => {
        if (at < before) return at
        const [row, within] = [Math.floor((at - before) / size), (at - before) % size]
        return before + ((row % keys) * each + Math.floor(row / keys)) * size + within
      })
  if (part === 'linear_attn.in_proj_qkv') return { rows: order(head, 2 * keys * fact('state_size')) }
  if (part === 'linear_attn.in_proj_z') return { rows: order(head) }
  if (part === 'linear_attn.out_proj') return { columns: order(head) }
  return { rows: order(1) }
}
