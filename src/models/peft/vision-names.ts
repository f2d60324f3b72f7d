import { unsupportedModel } from '../../errors.ts'
import type { Metadata } from '../../gguf/index.ts'
import { shown } from './safetensors.ts'
import { inPairs, partOf, type Target } from './target.ts'

/** Whether a module is a part of the model's eyes or ears, and not of its decoder. */
export const isOfEncoder = (module: string): boolean =>
  /\b(visual|vision|vision_\w+|vpm|vit|multi_modal_projector|mm_projector|resampler|connector|embed_vision|merger)\.|^(model\.)?mlp1\./.test(
    module,
  ) || isOfAudio(module)

const isOfAudio = (module: string): boolean => /audio|\bspeech|\bconformer\./.test(module)

/**
 * Layers by the names of their modules in transformers: SigLIP and CLIP (SmolVLM, Gemma 3, LLaVA, LFM2, MiniCPM-V), Gemma 4,
 * Pixtral, Qwen-VL, and InternVL in its own form and in that of transformers. After gguf-py/gguf/tensor_mapping.py of llama.cpp v0.5.0.
 */
const layers =
  /(?:vision_model|vision_tower|vpm|visual)\.(?:vision_model\.)?(?:encoder\.layers?|transformer\.layers|blocks)\.(\d{1,3})\.(.+)$/

const inLayer: Readonly<Record<string, readonly string[]>> = {
  'self_attn.q_proj': ['attn_q'],
  'self_attn.k_proj': ['attn_k'],
  'self_attn.v_proj': ['attn_v'],
  'self_attn.out_proj': ['attn_out'],
  'self_attn.o_proj': ['attn_out'], // Gemma 4
  'attention.q_proj': ['attn_q'],
  'attention.k_proj': ['attn_k'],
  'attention.v_proj': ['attn_v'],
  'attention.o_proj': ['attn_out'],
  'attention.projection_layer': ['attn_out'],
  'attn.proj': ['attn_out'],
  // Early converters swapped the names of these two.
  'mlp.fc1': ['ffn_up', 'ffn_down'],
  'mlp.fc2': ['ffn_down', 'ffn_up'],
  'mlp.linear_fc1': ['ffn_up'],
  'mlp.linear_fc2': ['ffn_down'],
  'mlp.gate_proj': ['ffn_gate'],
  'mlp.up_proj': ['ffn_up'],
  'mlp.down_proj': ['ffn_down'],
  'feed_forward.gate_proj': ['ffn_gate'],
  'feed_forward.up_proj': ['ffn_up'],
  'feed_forward.down_proj': ['ffn_down'],
}

/** Beside the layers, by the end of the module's name. */
const outside: Readonly<Record<string, readonly string[]>> = {
  'connector.modality_projection.proj': ['mm.model.fc'], // SmolVLM
  'multi_modal_projector.linear_1': ['mm.1', 'mm.0', 'mm.model.mlp.1'],
  'multi_modal_projector.linear_2': ['mm.2', 'mm.model.mlp.3'],
  'multi_modal_projector.patch_merger.merging_layer': ['mm.patch_merger'], // Mistral Small 3.1
  'visual.merger.mlp.0': ['mm.0'], // Qwen2-VL
  'visual.merger.mlp.2': ['mm.2'],
  'visual.merger.linear_fc1': ['mm.0'], // Qwen3-VL
  'visual.merger.linear_fc2': ['mm.2'],
  'embed_vision.embedding_projection': ['mm.input_projection'], // Gemma 4
  'mlp1.1': ['mm.model.mlp.1'], // InternVL
  'mlp1.3': ['mm.model.mlp.3'],
}

/**
 * What a module of the vision half may stand for: the first of the choices whose matrices the file has, in the module's shape.
 * @param module its name in transformers
 * @param base the header of the vision file
 * @throws OrielError `invalid` for a module that is not known
 */
export function visionTargets(module: string, base: Metadata): readonly (readonly Target[])[] {
  const family = familyOf(base)
  const unknown = () =>
    unsupportedModel(`It changes ${shown(module)}, which has no counterpart in vision files of type ${family}.`)
  if (isOfAudio(module))
    throw unsupportedModel(`It changes ${shown(module)}: adapters for encoders of audio are not supported.`)
  const end = Object.keys(outside).find((end) => module === end || module.endsWith(`.${end}`))
  if (end !== undefined) return (outside[end] ?? []).map((matrix) => [{ matrix }])
  const deep = /\.deepstack_merger_list\.(\d{1,3})\.linear_(fc[12])$/.exec(module)
  if (deep !== null) {
    const layer = deepstackLayers(base)[Number(deep[1])]
    if (layer === undefined) throw unknown()
    return [[{ matrix: `v.deepstack.${layer}.${deep[2]}` }]]
  }
  // Gemma 4 has each of its matrices in a module that also clamps.
  const [, layer, part = ''] = layers.exec(module.replace(/\.linear$/, '')) ?? []
  const blk = `v.blk.${layer}`
  if (part === 'attn.qkv')
    return [
      ['attn_q', 'attn_k', 'attn_v'].map((name, index) => ({ matrix: `${blk}.${name}`, rows: partOf(index, 3) })),
      [{ matrix: `${blk}.attn_qkv` }],
    ]
  const names = inLayer[part]
  if (names === undefined) throw unknown()
  // Pixtral turns positions as llama does.
  const isPaired = family === 'pixtral' && /^attention\.[qk]_proj$/.test(part)
  const order = isPaired ? { rows: inPairs(base.number('clip.vision.attention.head_count')) } : {}
  return names.map((name) => [{ matrix: `${blk}.${name}`, ...order }])
}

/** Types of vision files whose embeddings are the products of one matrix: its module, and what it is called there. */
const lastInProjector: Readonly<Record<string, readonly [module: string, matrix: string]>> = {
  pixtral: ['multi_modal_projector.linear_2', 'mm.2'],
  mlp: ['multi_modal_projector.linear_2', 'mm.2'],
  internvl: ['multi_modal_projector.linear_2', 'mm.model.mlp.3'],
  idefics3: ['connector.modality_projection.proj', 'mm.model.fc'],
  qwen2vl_merger: ['visual.merger.mlp.2', 'mm.2'],
  'qwen2.5vl_merger': ['visual.merger.mlp.2', 'mm.2'],
  qwen3vl_merger: ['visual.merger.linear_fc2', 'mm.2'],
}

/**
 * The matrix of a projector whose products, with its bias, are the embeddings.
 * @param base the header of the vision file
 * @returns undefined if there is none that is known
 */
export function lastOfProjector(base: Metadata): { module: string; matrix: string } | undefined {
  const [module, matrix] = lastInProjector[familyOf(base)] ?? []
  if (module === undefined || matrix === undefined || base.tensor(`${matrix}.weight`) === null) return undefined
  return { module, matrix }
}

/**
 * What transformers calls the decoder of a model that sees.
 * @param base the header of the vision file
 */
export const decoderOf = (base: Metadata): string => (familyOf(base) === 'idefics3' ? 'text_model' : 'language_model')

const familyOf = (base: Metadata): string =>
  base.string('clip.projector_type', base.string('clip.vision.projector_type', 'unnamed'))

/** Qwen3-VL counts the mergers, and its vision file the layers whose output they merge. */
const deepstackLayers = ({ tensorNames }: Metadata): number[] =>
  tensorNames
    .flatMap((name) => /^v\.deepstack\.(\d+)\.fc1\.weight$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
