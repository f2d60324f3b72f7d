import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, linear, norm } from '../weights.ts'

const [edge, patch, factor] = [edgeOf(64), 8, 2]

export const kimivl: Family = {
  name: 'kimivl',
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'deepseek2', { specials: ['<|media_start|>', '<|media_end|>', '<|media_pad|>'] })
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      type: 'kimivl',
      edge,
      patch,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...norm('mm.input_norm', towerWidth),
        ...linear('mm.1', joined, joined),
        ...linear('mm.2', joined, textWidth),
      ],
    })
  },
}

const withMarks = (name: string, specials: readonly string[]): Family => ({
  name,
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'deepseek2', { specials })
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      ...{ type: 'kimik25', edge, patch, fused: true },
      metadata: {
        'clip.vision.projector.scale_factor': { u32: factor },
        'clip.vision.image_min_pixels': { u32: 8 * patch ** 2 },
        'clip.vision.image_max_pixels': { u32: 4096 * patch ** 2 },
      },
      tensors: [
        bias('v.patch_embd.bias', towerWidth),
        { name: 'v.position_embd.weight', shape: [towerWidth, 8, 8], fill: { exact: 0.3 } },
        ...norm('v.post_ln', towerWidth),
        ...norm('mm.input_norm', towerWidth),
        ...linear('mm.1', joined, joined),
        ...linear('mm.2', joined, textWidth),
      ],
    })
  },
})

export const kimik25 = withMarks('kimik25', ['<|media_begin|>', '<|media_end|>', '<|media_pad|>'])
/** GLM-5.2-V, whose vision file is like Kimi's. */
export const glm52v = withMarks('kimik25-glm', ['<|begin_of_image|>', '<|end_of_image|>', '<|image|>'])
