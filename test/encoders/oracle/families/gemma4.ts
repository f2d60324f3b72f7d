import { type TensorPlan, writeGguf } from '../../../support/gguf-file.ts'
import type { AudioHalf } from '../audio-file.ts'
import { decoderOf, width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { headWidth, towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { linear, matrix, norm, ones } from '../weights.ts'

const [patch, factor] = [16, 3]
/** Numbers of a head, in the decoder and in the tower. */
const [textHead, head] = [16, headWidth]
/** Patches along the longest edge that an image has, and more. */
const places = 1024

/** A larger model: its decoder reads an image at once, and the outputs of its tower leave the range of 16-bit floats. */
export const gemma4: Family = { name: 'gemma4v', write: (decoder, vision) => writeGemma4(decoder, vision) }

/** @param audio the other half of the file */
export function writeGemma4(decoder: string, file: string, audio?: AudioHalf): void {
  writeDecoder(decoder, textWidth, 0, audio && { specials: ['<|audio>', '<audio|>'] })
  const scaled: TensorPlan[] = [
    { name: 'v.std_bias', shape: [towerWidth], fill: { exact: 30_000 } },
    { name: 'v.std_scale', shape: [towerWidth], fill: { constant: 1 / 20_000 } },
  ]
  writeTower(file, textWidth, scaled, audio)
}

/** E2B: its products are bounded, its decoder reads an image like text, and has embeddings of its own for each layer. */
export const gemma4E2b: Family = {
  name: 'gemma4v-e2b',
  write(decoder, vision) {
    const width = 1536
    writeDecoder(decoder, width, 8)
    const matrices = ['attn_q', 'attn_k', 'attn_v', 'attn_out', 'ffn_gate', 'ffn_up', 'ffn_down']
    const bounds = [0, 1].flatMap((layer) => matrices.flatMap((name) => boundsOf(`v.blk.${layer}.${name}`)))
    writeTower(vision, width, [...bounds, ...boundsOf('mm.input_projection')])
  },
}

/** 12B: it has no tower. */
export const gemma4Unified: Family = {
  name: 'gemma4uv',
  isExact: true,
  write(decoder, vision) {
    writeDecoder(decoder, textWidth, 0)
    const inputs = 3 * (patch * factor) ** 2
    writeVision(vision, {
      ...{ type: 'gemma4uv', edge: 224, patch, layers: 0 },
      tensors: [
        ...norm('v.patch_norm.1', inputs),
        ...linear('v.patch_embd', inputs, towerWidth),
        ...norm('v.patch_norm.2', towerWidth),
        learnedPlaces,
        ...norm('v.patch_norm.3', towerWidth),
        matrix('mm.input_projection.weight', towerWidth, textWidth),
      ],
    })
  },
}

const learnedPlaces: TensorPlan = {
  name: 'v.position_embd.weight',
  shape: [towerWidth, places, 2],
  fill: { exact: 0.3 },
}

/** Bounds within which most numbers are, and some are not. */
export const boundsOf = (name: string): TensorPlan[] =>
  [
    ['input_min', -1.5],
    ['input_max', 1.25],
    ['output_min', -1.75],
    ['output_max', 2],
  ].map(([kind, bound]) => ({ name: `${name}.${kind}`, shape: [1], fill: { constant: Number(bound) } }))

function writeTower(file: string, width: number, more: readonly TensorPlan[], audio?: AudioHalf): void {
  writeVision(file, {
    ...{ type: 'gemma4v', edge: 224, patch, norms: 'rms', gated: true, audio },
    // Its converter names no activation.
    metadata: { 'clip.use_silu': { bool: false }, 'clip.vision.projector.scale_factor': { u32: factor } },
    more: (part) => [
      ones(`${part('attn_q_norm')}.weight`, head),
      ones(`${part('attn_k_norm')}.weight`, head),
      { name: `${part('attn_post_norm')}.weight`, shape: [towerWidth], fill: { constant: 2000 } },
      { name: `${part('ffn_post_norm')}.weight`, shape: [towerWidth], fill: { constant: 3000 } },
      { name: `${part('out_scale')}.weight`, shape: [1], fill: { constant: 1.5 } },
    ],
    tensors: [learnedPlaces, matrix('mm.input_projection.weight', towerWidth, width), ...more],
  })
}

/** As a whole E2B has them: the heads of layers that see everything are larger, and the last layer reads the keys of another. */
export const writeSharingGemma4 = (decoder: string): void =>
  writeDecoder(decoder, textWidth, 0, { layers: 3, head: 32 })

/** @param perLayer numbers of a token's embedding for each layer */
function writeDecoder(
  file: string,
  width: number,
  perLayer: number,
  {
    layers = 2,
    head: fullHead = textHead,
    specials = [],
  }: { layers?: number; head?: number; specials?: string[] } = {},
): void {
  /** Every second layer sees everything. */
  const headOf = (layer: number) => (layer % 2 === 0 ? textHead : fullHead)
  const { metadata, tensors } = decoderOf({
    architecture: 'gemma4',
    width,
    layers,
    specials: ['<|image>', '<image|>', ...specials],
    metadata: {
      'gemma4.attention.sliding_window': { u32: 24 },
      'gemma4.attention.sliding_window_pattern': { i32: Array.from({ length: layers }, (_, layer) => 1 - (layer % 2)) },
      'gemma4.attention.key_length': { u32: fullHead },
      'gemma4.attention.value_length': { u32: fullHead },
      'gemma4.attention.key_length_swa': { u32: textHead },
      'gemma4.attention.value_length_swa': { u32: textHead },
      'gemma4.attention.shared_kv_layers': { u32: layers - 2 },
      'gemma4.rope.dimension_count': { u32: fullHead },
      'gemma4.rope.dimension_count_swa': { u32: textHead },
      'gemma4.embedding_length_per_layer_input': { u32: perLayer },
    },
    more: (layer) => {
      const part = (name: string) => `blk.${layer}.${name}.weight`
      return [
        ones(part('attn_q_norm'), headOf(layer)),
        ones(part('attn_k_norm'), headOf(layer)),
        ones(part('post_attention_norm'), width),
        ones(part('post_ffw_norm'), width),
        ...(perLayer === 0
          ? []
          : [
              matrix(part('inp_gate'), width, perLayer),
              matrix(part('proj'), perLayer, width),
              ones(part('post_norm'), width),
            ]),
      ]
    },
  })
  const shaped = ({ name, ...plan }: TensorPlan): TensorPlan => {
    const heads = 2 * headOf(Number(name.split('.')[1]))
    if (/attn_[qkv]\.weight$/.test(name)) return matrix(name, width, heads)
    return name.endsWith('attn_output.weight') ? matrix(name, heads, width) : { name, ...plan }
  }
  const [, tokens = 0] = tensors.find(({ name }) => name === 'token_embd.weight')?.shape ?? []
  const ofLayers = [
    matrix('per_layer_token_embd.weight', perLayer * layers, tokens),
    matrix('per_layer_model_proj.weight', width, perLayer * layers),
    ones('per_layer_proj_norm.weight', perLayer),
  ]
  const all = [...tensors.map(shaped), ones('rope_freqs.weight', fullHead / 2), ...(perLayer === 0 ? [] : ofLayers)]
  writeGguf(file, metadata, all, 1)
}
