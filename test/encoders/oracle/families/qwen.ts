import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import type { AudioHalf } from '../audio-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, linear, norm, ones, patches } from '../weights.ts'

const [edge, patch, joined] = [112, 14, 4 * towerWidth]
const specials = ['<|vision_start|>', '<|vision_end|>', '<|image_pad|>']
const projector = [...linear('mm.0', joined, joined), ...linear('mm.2', joined, textWidth)]
const secondFrame = patches('v.patch_embd.weight.1', patch, towerWidth)

export const qwen2vl: Family = {
  name: 'qwen2vl',
  write(decoder, vision) {
    writeQwen2Decoder(decoder)
    writeVision(vision, {
      type: 'qwen2vl_merger',
      edge,
      patch,
      tensors: [secondFrame, ...norm('v.post_ln', towerWidth), ...projector],
    })
  },
}

/** @param audio the other half of the file */
const windowed =
  (type: string, { specials = [], audio }: Hearing = {}): Family['write'] =>
  (decoder, vision) => {
    writeQwen2Decoder(decoder, specials)
    writeVision(vision, {
      type,
      edge,
      patch,
      layers: 4,
      norms: 'rms',
      biased: true,
      gated: true,
      metadata: { 'clip.vision.n_wa_pattern': { u32: 2 }, ...audio?.metadata },
      tensors: [secondFrame, ones('v.post_ln.weight', towerWidth), ...projector, ...(audio?.tensors ?? [])],
    })
  }

interface Hearing {
  specials?: readonly string[]
  audio?: AudioHalf
}

export const qwen25vl: Family = { name: 'qwen2.5vl', write: windowed('qwen2.5vl_merger') }
export const qwen25o: Family = { name: 'qwen2.5o', write: windowed('qwen2.5o') }

export const writeQwen25o = (decoder: string, file: string, hearing: Hearing): void =>
  windowed('qwen2.5o', hearing)(decoder, file)

export const exaone45: Family = {
  name: 'exaone4_5',
  write(decoder, vision) {
    writeSmallDecoder(decoder, 'exaone4', { specials: ['<vision>', '</vision>', '<|image_pad|>'] })
    writeVision(vision, {
      ...{ type: 'exaone4_5', edge, patch, layers: 4, norms: 'rms', biased: true, gated: true, fused: true },
      sharedHeads: 1,
      metadata: {
        'clip.vision.n_wa_pattern': { u32: 2 },
        'clip.vision.image_min_pixels': { u32: 4 * 28 ** 2 },
        'clip.vision.image_max_pixels': { u32: 1024 * 28 ** 2 },
      },
      tensors: [secondFrame, ones('v.post_ln.weight', towerWidth), ...projector],
    })
  },
}

export const qwen3vl: Family = {
  name: 'qwen3vl',
  write(decoder, vision) {
    writeDecoder(decoder, {
      architecture: 'qwen3vl',
      layers: 3,
      specials,
      metadata: {
        'qwen3vl.rope.dimension_sections': { i32: [3, 3, 2, 0] },
        'qwen3vl.n_deepstack_layers': { u32: 2 },
      },
      more: (layer) => ['attn_q_norm', 'attn_k_norm'].map((name) => ones(`blk.${layer}.${name}.weight`, textWidth / 2)),
    })
    writeQwen3Encoders(vision)
  },
}

/** @param audio the other half of the file */
export function writeQwen3Encoders(file: string, audio?: AudioHalf): void {
  writeVision(file, {
    ...{ type: 'qwen3vl_merger', edge, patch, layers: 3, fused: true, audio },
    metadata: { 'clip.vision.spatial_merge_size': { u32: 2 } },
    tensors: [
      secondFrame,
      ...learnedPositions((edge / patch) ** 2),
      ...norm('v.post_ln', towerWidth),
      ...projector,
      ...[0, 1].flatMap((layer) => [
        ...norm(`v.deepstack.${layer}.norm`, joined),
        ...linear(`v.deepstack.${layer}.fc1`, joined, joined),
        ...linear(`v.deepstack.${layer}.fc2`, joined, textWidth),
      ]),
    ],
  })
}

function writeQwen2Decoder(file: string, more: readonly string[] = []): void {
  writeDecoder(file, {
    architecture: 'qwen2vl',
    layers: 2,
    specials: [...specials, ...more],
    metadata: { 'qwen2vl.rope.dimension_sections': { i32: [2, 3, 3, 0] } },
    more: (layer) => ['attn_q', 'attn_k', 'attn_v'].map((name) => bias(`blk.${layer}.${name}.bias`, textWidth)),
  })
}
