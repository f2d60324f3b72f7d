import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { bias, linear, norm, ones } from '../weights.ts'

const [patch, factor] = [14, 2]
const joined = towerWidth * factor ** 2

export const dotsocr: Family = {
  name: 'dots_ocr',
  write(decoder, projector) {
    writeDecoder(decoder, {
      architecture: 'qwen2',
      specials: ['<|img|>', '<|endofimg|>', '<|imgpad|>'],
      more: (layer) => ['attn_q', 'attn_k', 'attn_v'].map((name) => bias(`blk.${layer}.${name}.bias`, textWidth)),
    })
    writeVision(projector, {
      ...{ type: 'dots_ocr', edge: 0, patch, norms: 'rms', fused: true, gated: true },
      metadata: {
        'clip.vision.projector.scale_factor': { u32: factor },
        'clip.vision.image_min_pixels': { u32: 3136 },
        'clip.vision.image_max_pixels': { u32: 2_000_000 },
      },
      tensors: [
        bias('v.patch_embd.bias', towerWidth),
        ones('v.pre_ln.weight', towerWidth),
        ones('mm.post_norm.weight', towerWidth),
        ...norm('mm.input_norm', towerWidth),
        ...linear('mm.0', joined, joined),
        ...linear('mm.2', joined, textWidth),
      ],
    })
  },
}
