import { existsSync, mkdirSync, renameSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type TensorPlan, type Value, writeGguf } from '../test/support/gguf-file.ts'
import { hybrid } from './hybrid-files.ts'
import { cacheFolder } from './peer.ts'
import { qwen } from './qwen-files.ts'
import { each, linear, matrix, norm, ones, tokenEmbeddings, tokenizer, zeros } from './random-model.ts'

/** A model. Both servers load the same two files. */
export interface BenchModel {
  id: ModelName
  title: string
  decoder: string
  projector: string
  /** The limits of patches for llama-server, if they differ from its defaults for the projector type. */
  patches?: { least: number; most: number }
}

export const modelNames = ['smol', 'pocket', 'qwen', 'hybrid', 'smolvlm-256m', 'smolvlm-500m', 'qwen3.5-0.8b'] as const
export type ModelName = (typeof modelNames)[number]

export function modelFiles(name: ModelName): BenchModel {
  if (name === 'pocket') return pocket()
  if (name === 'smol')
    return random(
      name,
      'The shape of SmolVLM-256M with random weights, Q8_0, two tiles for each image',
      smolVlm(smol135m, longestOfBench),
    )
  if (name === 'smolvlm-256m')
    return random(name, 'The shape of SmolVLM-256M with random weights, Q8_0', smolVlm(smol135m, longest))
  if (name === 'smolvlm-500m')
    return random(name, 'The shape of SmolVLM-500M with random weights, Q8_0', smolVlm(smol360m, longest))
  if (name === 'hybrid')
    return random(name, 'The shape of Qwen3.5-0.8B with random weights and fewer tokens, Q8_0', hybrid(49_280))
  if (name === 'qwen3.5-0.8b')
    return random(name, 'The shape of Qwen3.5-0.8B with random weights, Q8_0', hybrid(248_320))
  return random(name, 'The shape of Qwen2.5-VL-3B with random weights, Q8_0', qwen)
}

function pocket(): BenchModel {
  const folder = fileURLToPath(new URL('../models/pocket/', import.meta.url))
  return {
    id: 'pocket',
    title: 'Pocket, the built-in model',
    decoder: path.join(folder, 'pocket.gguf'),
    projector: path.join(folder, 'mmproj-pocket.gguf'),
    patches: { least: 16, most: 36 },
  }
}

/** To be increased when the generated files change. */
const recipe = 2

/** SmolLM2-135M and 360M, the decoders of SmolVLM-256M and 500M. */
const smol135m = { layers: 30, width: 576, feedForward: 1536, heads: 9, keyHeads: 3, vocabulary: 49280, context: 8192 }
const smol360m = { ...smol135m, layers: 32, width: 960, feedForward: 2560, heads: 15, keyHeads: 5 }
type Smol = typeof smol135m

/** SigLIP-B/16 for 512 pixels. */
const vision = { layers: 12, width: 768, feedForward: 3072, heads: 12, patch: 16, edge: 512, factor: 4 }

/**
 * The longer edge of an image is scaled to it before the image is cut into tiles of 512 pixels. 2048 makes 17 tiles of a
 * square image; 512 makes two, and the bench takes less than an hour.
 */
const [longest, longestOfBench] = [2048, 512]

const epsilon = 1e-5

/** The contents of a file of random weights. */
interface FilePlan {
  metadata(): Record<string, Value>
  tensors(): TensorPlan[]
}

const smolVlm = (decoder: Smol, longest: number) => ({
  decoder: { metadata: () => decoderMetadata(decoder), tensors: () => decoderTensors(decoder) },
  projector: { metadata: () => visionMetadata(decoder, longest), tensors: () => visionTensors(decoder) },
})

function random(id: ModelName, title: string, plans: { decoder: FilePlan; projector: FilePlan }): BenchModel {
  const folder = path.join(cacheFolder, `${id}-${recipe}`)
  const names = { decoder: `${id}.gguf`, projector: `mmproj-${id}.gguf` }
  if (!existsSync(folder)) {
    const making = `${folder}.new`
    mkdirSync(making, { recursive: true })
    const { decoder, projector } = plans
    writeGguf(path.join(making, names.decoder), decoder.metadata(), decoder.tensors(), 1)
    writeGguf(path.join(making, names.projector), projector.metadata(), projector.tensors(), 2)
    renameSync(making, folder)
  }
  return { id, title, decoder: path.join(folder, names.decoder), projector: path.join(folder, names.projector) }
}

const specials = [
  ...['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<image>', '<fake_token_around_image>', '<global-img>'],
  ...Array.from({ length: 36 }, (_, tile) => `<row_${Math.floor(tile / 6) + 1}_col_${(tile % 6) + 1}>`),
]
function decoderMetadata(decoder: Smol): Record<string, Value> {
  return {
    'general.architecture': { string: 'llama' },
    'general.name': { string: 'Smol shape' },
    'general.file_type': { u32: 7 },
    'llama.vocab_size': { u32: decoder.vocabulary },
    'llama.context_length': { u32: decoder.context },
    'llama.embedding_length': { u32: decoder.width },
    'llama.block_count': { u32: decoder.layers },
    'llama.feed_forward_length': { u32: decoder.feedForward },
    'llama.attention.head_count': { u32: decoder.heads },
    'llama.attention.head_count_kv': { u32: decoder.keyHeads },
    'llama.attention.layer_norm_rms_epsilon': { f32: epsilon },
    'llama.rope.dimension_count': { u32: decoder.width / decoder.heads },
    'llama.rope.freq_base': { f32: 100000 },
    ...tokenizer(specials, decoder.vocabulary, 'smollm'),
  }
}

function decoderTensors({ width, feedForward, layers, vocabulary: tokens, heads, keyHeads }: Smol): TensorPlan[] {
  const keys = (width / heads) * keyHeads
  return [
    tokenEmbeddings(width, tokens, specials, 0.04),
    ones('output_norm.weight', width),
    ...each(layers, (layer) => [
      ones(`blk.${layer}.attn_norm.weight`, width),
      ones(`blk.${layer}.ffn_norm.weight`, width),
      matrix(`blk.${layer}.attn_q.weight`, width, width),
      matrix(`blk.${layer}.attn_k.weight`, width, keys),
      matrix(`blk.${layer}.attn_v.weight`, width, keys),
      matrix(`blk.${layer}.attn_output.weight`, width, width),
      matrix(`blk.${layer}.ffn_gate.weight`, width, feedForward),
      matrix(`blk.${layer}.ffn_up.weight`, width, feedForward),
      matrix(`blk.${layer}.ffn_down.weight`, feedForward, width),
    ]),
  ]
}

function visionMetadata(decoder: Smol, longest: number): Record<string, Value> {
  return {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'Smol shape' },
    'general.type': { string: 'mmproj' },
    'general.file_type': { u32: 7 },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'idefics3' },
    'clip.use_gelu': { bool: true },
    'clip.vision.image_size': { u32: vision.edge },
    'clip.vision.preproc_image_size': { u32: longest },
    'clip.vision.patch_size': { u32: vision.patch },
    'clip.vision.embedding_length': { u32: vision.width },
    'clip.vision.feed_forward_length': { u32: vision.feedForward },
    'clip.vision.block_count': { u32: vision.layers },
    'clip.vision.attention.head_count': { u32: vision.heads },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: decoder.width },
    'clip.vision.projector.scale_factor': { u32: vision.factor },
    'clip.vision.image_mean': { f32: [0.5, 0.5, 0.5] },
    'clip.vision.image_std': { f32: [0.5, 0.5, 0.5] },
  }
}

function visionTensors(decoder: Smol): TensorPlan[] {
  const { width, feedForward, layers, patch, edge, factor } = vision
  return [
    // Convolutions and positions are never quantized.
    { name: 'v.patch_embd.weight', shape: [patch, patch, 3, width], fill: { exact: 0.02 } },
    zeros('v.patch_embd.bias', width),
    { name: 'v.position_embd.weight', shape: [width, (edge / patch) ** 2], fill: { exact: 0.2 } },
    ...norm('v.post_ln', width),
    matrix('mm.model.fc.weight', width * factor * factor, decoder.width),
    ...each(layers, (layer) => {
      const part = (name: string) => `v.blk.${layer}.${name}`
      return [
        ...norm(part('ln1'), width),
        ...norm(part('ln2'), width),
        ...['attn_q', 'attn_k', 'attn_v', 'attn_out'].flatMap((name) => linear(part(name), width, width)),
        ...linear(part('ffn_up'), width, feedForward),
        ...linear(part('ffn_down'), feedForward, width),
      ]
    }),
  ]
}
