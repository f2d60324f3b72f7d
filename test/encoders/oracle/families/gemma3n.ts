import { type TensorPlan, writeGguf } from '../../../support/gguf-file.ts'
import { decoderOf, width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { writeVision } from '../vision-file.ts'
import { matrix, ones } from '../weights.ts'

/** The finer features are 32 x 32, of which squares of 2 x 2 are averaged. */
const [edge, patch] = [512, 2]

/** Three kinds of blocks, each with and without its optional parts. */
export const gemma3n: Family = {
  name: 'gemma3nv',
  write(decoder, vision) {
    writeDecoder(decoder)
    writeVision(vision, {
      ...{ type: 'gemma3nv', edge, patch, layers: 0 },
      // libmtmd requires features as wide as the decoder's embeddings.
      metadata: {
        'clip.vision.embedding_length': { u32: textWidth },
        'clip.vision.image_mean': { f32: [0, 0, 0] },
        'clip.vision.image_std': { f32: [1, 1, 1] },
      },
      tensors: [
        kernel('v.conv_stem.conv.weight', 3, 3, 8),
        { name: 'v.conv_stem.conv.bias', shape: [1, 1, 8, 1], fill: { exact: 0.1 } },
        ones('v.conv_stem.bn.weight', 8),
        ...residual('v.blk.0.0', 8, 12),
        ...residual('v.blk.0.1', 12, 12),
        ...inverted('v.blk.1.0', 12, 16, { start: 3, middle: 5 }),
        ...inverted('v.blk.1.1', 16, 16, { start: 5, middle: 0 }),
        ...inverted('v.blk.2.0', 16, 32, { start: 5, middle: 5 }),
        ...attention('v.blk.2.1', 32, true),
        ...inverted('v.blk.2.2', 32, 32, { start: 0, middle: 0 }),
        ...inverted('v.blk.3.0', 32, 48, { start: 5, middle: 5 }),
        ...attention('v.blk.3.1', 48, false),
        point('v.msfa.ffn.pw_exp.conv.weight', 32 + 48, 96),
        ones('v.msfa.ffn.pw_exp.bn.weight', 96),
        point('v.msfa.ffn.pw_proj.conv.weight', 96, textWidth),
        ones('v.msfa.ffn.pw_proj.bn.weight', textWidth),
        ones('v.msfa.norm.weight', textWidth),
        ones('mm.soft_emb_norm.weight', textWidth),
        matrix('mm.input_projection.weight', textWidth, textWidth),
      ],
    })
  },
}

const kernel = (name: string, size: number, inputs: number, outputs: number): TensorPlan => ({
  name,
  shape: [size, size, inputs, outputs],
  fill: { exact: 1 / Math.sqrt(size * size * inputs) },
})

/** libmtmd computes those of 16-bit floats only. */
const depthwise = (name: string, size: number, channels: number): TensorPlan => ({
  name,
  shape: [size, size, 1, channels],
  fill: { half: 1 / size },
})

/** A convolution of single places. */
const point = (name: string, inputs: number, outputs: number): TensorPlan => kernel(name, 1, inputs, outputs)

const factors = (block: string, channels: number): TensorPlan => ({
  name: `${block}.layer_scale.gamma`,
  shape: [1, 1, channels, 1],
  fill: { exact: 1 },
})

const residual = (block: string, inputs: number, outputs: number): TensorPlan[] => [
  kernel(`${block}.conv_exp.weight`, 3, inputs, 2 * inputs),
  ones(`${block}.bn1.weight`, 2 * inputs),
  point(`${block}.conv_pwl.weight`, 2 * inputs, outputs),
  ones(`${block}.bn2.weight`, outputs),
]

/** @param sizes of the depthwise kernels; 0: there is none */
function inverted(
  block: string,
  inputs: number,
  outputs: number,
  sizes: { start: number; middle: number },
): TensorPlan[] {
  const inner = 2 * inputs
  const own = (name: string, size: number, channels: number): TensorPlan[] =>
    size === 0
      ? []
      : [depthwise(`${block}.${name}.conv.weight`, size, channels), ones(`${block}.${name}.bn.weight`, channels)]
  return [
    ...own('dw_start', sizes.start, inputs),
    point(`${block}.pw_exp.conv.weight`, inputs, inner),
    ones(`${block}.pw_exp.bn.weight`, inner),
    ...own('dw_mid', sizes.middle, inner),
    point(`${block}.pw_proj.conv.weight`, inner, outputs),
    ones(`${block}.pw_proj.bn.weight`, outputs),
    factors(block, outputs),
  ]
}

/** @param halves whether keys and values are those of a grid of half the size */
function attention(block: string, channels: number, halves: boolean): TensorPlan[] {
  const [head, heads] = [16, 3]
  const shared = (name: string): TensorPlan[] => [
    ...(halves
      ? [
          depthwise(`${block}.attn.${name}.down_conv.weight`, 3, channels),
          ones(`${block}.attn.${name}.norm.weight`, channels),
        ]
      : []),
    point(`${block}.attn.${name}.proj.weight`, channels, head),
  ]
  return [
    ones(`${block}.norm.weight`, channels),
    point(`${block}.attn.query.proj.weight`, channels, head * heads),
    ...shared('key'),
    ...shared('value'),
    point(`${block}.attn.output.proj.weight`, head * heads, channels),
    factors(block, channels),
  ]
}

/** Its layers predict and correct four streams, and have a path of low rank; tokens have embeddings for each layer. */
function writeDecoder(file: string): void {
  const layers = 2
  const [streams, rank, perLayer] = [4, 64, 256]
  const { metadata, tensors } = decoderOf({
    architecture: 'gemma3n',
    layers,
    specials: ['<start_of_image>', '<end_of_image>'],
    metadata: { 'gemma3n.attention.sliding_window': { u32: 24 } },
    more: (layer) => {
      const part = (name: string) => `blk.${layer}.${name}.weight`
      return [
        ones(part('attn_q_norm'), textWidth / 2),
        ones(part('attn_k_norm'), textWidth / 2),
        ones(part('post_attention_norm'), textWidth),
        ones(part('post_ffw_norm'), textWidth),
        matrix(part('inp_gate'), textWidth, perLayer),
        matrix(part('proj'), perLayer, textWidth),
        ones(part('post_norm'), textWidth),
        matrix(part('altup_correct_coef'), streams, streams),
        ones(part('altup_correct_scale'), textWidth),
        matrix(part('altup_predict_coef'), streams, streams * streams),
        matrix(part('altup_router'), textWidth, streams),
        ones(part('altup_router_norm'), textWidth),
        matrix(part('laurel_l'), textWidth, rank),
        matrix(part('laurel_r'), rank, textWidth),
        ones(part('laurel_post_norm'), textWidth),
      ]
    },
  })
  const [, tokens = 0] = tensors.find(({ name }) => name === 'token_embd.weight')?.shape ?? []
  const stream = (name: string): TensorPlan => ({
    name,
    shape: [textWidth, textWidth, streams - 1],
    fill: { exact: 1 / Math.sqrt(textWidth) },
  })
  const ofStreams = [
    stream('altup_proj.weight'),
    stream('altup_unembd_proj.weight'),
    matrix('per_layer_token_embd.weight', perLayer * layers, tokens),
    matrix('per_layer_model_proj.weight', textWidth, perLayer * layers),
    ones('per_layer_proj_norm.weight', perLayer),
  ]
  writeGguf(file, metadata, [...tensors, ...ofStreams], 1)
}
