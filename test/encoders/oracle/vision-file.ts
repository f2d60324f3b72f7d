import { type TensorPlan, type Value, writeGguf } from '../../support/gguf-file.ts'
import type { AudioHalf } from './audio-file.ts'
import { epsilon, width as textWidth } from './decoder.ts'
import { feedForwardWidth, towerWidth, headWidth as usualHead } from './tower.ts'
import { bias, each, linear, matrix, norm, ones, patches } from './weights.ts'

/** A small vision file of random weights. */
interface VisionPlan {
  /** `clip.projector_type` */
  type: string
  /** The edge of the square that it was trained on, in pixels. */
  edge: number
  patch: number
  layers?: number
  /** The width of a layer's feed-forward part. */
  feedForward?: number
  /** `rms`: norms without a bias. */
  norms?: 'layer' | 'rms'
  /** Whether matrices have a bias; by default if norms have one. */
  biased?: boolean
  /** Heads of queries, and the width of each; by default they have the tower's width together. */
  heads?: number
  headWidth?: number
  /** Heads of keys and values; by default as many as of queries. */
  sharedHeads?: number
  /** Whether queries, keys and values are one matrix. */
  fused?: boolean
  /** Whether the feed-forward part has a gate. */
  gated?: boolean
  /** Whether the names of the feed-forward matrices are swapped, as by early converters. */
  swapped?: boolean
  /** Additional tensors of a layer. */
  more?: (part: (name: string) => string) => TensorPlan[]
  metadata?: Record<string, Value>
  /** Tensors in addition to the layers and the convolution. */
  tensors: readonly TensorPlan[]
  /** The other half of the file, if it has a type of its own. */
  audio?: AudioHalf | undefined
}

export function writeVision(file: string, plan: VisionPlan): void {
  const {
    type,
    edge,
    patch,
    layers = 2,
    feedForward = feedForwardWidth,
    norms = 'layer',
    gated = false,
    swapped = false,
  } = plan
  const { heads = towerWidth / usualHead, headWidth = towerWidth / heads, sharedHeads = heads } = plan
  const [ownWidth, sharedWidth] = [headWidth * heads, headWidth * sharedHeads]
  const { biased = norms === 'layer', fused = false } = plan
  const metadata: Record<string, Value> = {
    'general.architecture': { string: 'clip' },
    'general.name': { string: 'a test' },
    'clip.has_vision_encoder': { bool: true },
    [plan.audio === undefined ? 'clip.projector_type' : 'clip.vision.projector_type']: { string: type },
    [gated ? 'clip.use_silu' : 'clip.use_gelu']: { bool: true },
    'clip.vision.image_size': { u32: edge },
    'clip.vision.patch_size': { u32: patch },
    'clip.vision.embedding_length': { u32: towerWidth },
    'clip.vision.feed_forward_length': { u32: feedForward },
    'clip.vision.block_count': { u32: layers },
    'clip.vision.attention.head_count': { u32: heads },
    'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.vision.projection_dim': { u32: textWidth },
    'clip.vision.image_mean': { f32: [0.5, 0.4, 0.5] },
    'clip.vision.image_std': { f32: [0.5, 0.5, 0.3] },
    ...(plan.sharedHeads && { 'clip.vision.attention.head_count_kv': { u32: plan.sharedHeads } }),
    ...plan.metadata,
    ...plan.audio?.metadata,
  }
  const product = (name: string, inputs: number, outputs: number) =>
    biased ? linear(name, inputs, outputs) : [matrix(`${name}.weight`, inputs, outputs)]
  const normOf = (name: string) => (norms === 'rms' ? [ones(`${name}.weight`, towerWidth)] : norm(name, towerWidth))
  const convolution = patches('v.patch_embd.weight', patch, towerWidth)
  const given = new Set(plan.tensors.map(({ name }) => name))
  const tensors = [
    ...(given.has(convolution.name) ? [] : [convolution]),
    ...plan.tensors,
    ...(plan.audio?.tensors ?? []),
    ...each(layers, (layer) => {
      const part = (name: string) => `v.blk.${layer}.${name}`
      const [up, down] = swapped ? ['ffn_down', 'ffn_up'] : ['ffn_up', 'ffn_down']
      return [
        ...normOf(part('ln1')),
        ...normOf(part('ln2')),
        ...(fused
          ? product(part('attn_qkv'), towerWidth, ownWidth + 2 * sharedWidth)
          : [
              ...product(part('attn_q'), towerWidth, ownWidth),
              ...['attn_k', 'attn_v'].flatMap((name) => product(part(name), towerWidth, sharedWidth)),
            ]),
        ...product(part('attn_out'), ownWidth, towerWidth),
        ...(gated ? product(part('ffn_gate'), towerWidth, feedForward) : []),
        ...product(part(up), towerWidth, feedForward),
        ...product(part(down), feedForward, towerWidth),
        ...(plan.more?.(part) ?? []),
      ]
    }),
  ]
  writeGguf(file, metadata, tensors, 2)
}

/** A convolution's bias, and positions of `rows` patches. */
export const learnedPositions = (rows: number): TensorPlan[] => [
  bias('v.patch_embd.bias', towerWidth),
  { name: 'v.position_embd.weight', shape: [towerWidth, rows], fill: { exact: 0.3 } },
]
