import type { TensorPlan } from '../../../support/gguf-file.ts'
import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { bias, each, linear, norm, ones } from '../weights.ts'

/** The edges of images are constants of llama.cpp, so that even small models take their time. */
const sizes = [
  [1, 1],
  [64, 64],
  [640, 480],
  [700, 300],
  [1500, 1000],
] as const

const [textWidth, samWidth, window, patch, samLayers] = [32, 32, 14, 16, 3]
const headWidth = samWidth / 2

const convolution = (name: string, size: number, inputs: number, outputs: number): TensorPlan => ({
  name: `${name}.weight`,
  shape: [size, size, inputs, outputs],
  fill: { exact: 1 / Math.sqrt(size * size * inputs) },
})

const samMetadata = {
  'clip.vision.sam.block_count': { u32: samLayers },
  'clip.vision.sam.head_count': { u32: 2 },
  'clip.vision.sam.embedding_length': { u32: samWidth },
  'clip.vision.window_size': { u32: window },
}

const samTensors: TensorPlan[] = [
  { name: 'v.sam.pos_embd.weight', shape: [samWidth, 64, 64], fill: { exact: 0.3 } },
  { name: 'v.sam.patch_embd.weight', shape: [patch, patch, 3, samWidth], fill: { exact: 0.05 } },
  bias('v.sam.patch_embd.bias', samWidth),
  ...each(samLayers, (layer) => {
    const part = (name: string) => `v.sam.blk.${layer}.${name}`
    // The third layer attends to the whole image.
    const distances = layer === 2 ? 127 : 2 * window - 1
    return [
      ...norm(part('pre_ln'), samWidth),
      ...norm(part('post_ln'), samWidth),
      ...['h', 'w'].map(
        (axis): TensorPlan => ({
          name: part(`attn.pos_${axis}.weight`),
          shape: [headWidth, distances],
          fill: { exact: 0.3 },
        }),
      ),
      ...linear(part('attn.qkv'), samWidth, 3 * samWidth),
      ...linear(part('attn.out'), samWidth, samWidth),
      ...linear(part('mlp.lin1'), samWidth, 2 * samWidth),
      ...linear(part('mlp.lin2'), 2 * samWidth, samWidth),
    ]
  }),
  convolution('v.sam.neck.0', 1, samWidth, 24),
  ...norm('v.sam.neck.1', 24),
  convolution('v.sam.neck.2', 3, 24, 24),
  ...norm('v.sam.neck.3', 24),
  convolution('v.sam.net_2', 3, 24, 48),
  convolution('v.sam.net_3', 3, 48, towerWidth),
]

export const deepseekocr: Family = {
  name: 'deepseekocr',
  sizes,
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'deepseek2-ocr', { specials: ['<image>'] })
    writeVision(projector, {
      ...{ type: 'deepseekocr', edge: 1024, patch: 14, fused: true },
      metadata: samMetadata,
      tensors: [
        ...samTensors,
        bias('v.class_embd', towerWidth),
        { name: 'v.position_embd.weight', shape: [towerWidth, 16 * 16 + 1], fill: { exact: 0.3 } },
        ...norm('v.pre_ln', towerWidth),
        ...linear('mm.model.fc', 2 * towerWidth, textWidth),
        bias('v.image_newline', textWidth),
        bias('v.view_seperator', textWidth),
      ],
    })
  },
}

export const deepseekocr2: Family = {
  name: 'deepseekocr2',
  sizes,
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'deepseek2-ocr', { specials: ['<image>'] })
    writeVision(projector, {
      ...{ type: 'deepseekocr2', edge: 1024, patch, norms: 'rms', gated: true, sharedHeads: 1 },
      metadata: { ...samMetadata, 'clip.use_silu': { bool: false }, 'clip.use_gelu': { bool: true } },
      tensors: [
        ...samTensors,
        ones('v.post_ln.weight', towerWidth),
        { name: 'v.resample_query_768.weight', shape: [towerWidth, 144], fill: { exact: 1 } },
        { name: 'v.resample_query_1024.weight', shape: [towerWidth, 256], fill: { exact: 1 } },
        ...linear('mm.model.fc', towerWidth, textWidth),
        { name: 'v.view_seperator', shape: [textWidth, 1], fill: { exact: 1 / Math.sqrt(textWidth) } },
      ],
    })
  },
}
