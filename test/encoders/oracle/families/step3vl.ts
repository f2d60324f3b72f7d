import type { TensorPlan } from '../../../support/gguf-file.ts'
import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, matrix, norm } from '../weights.ts'

const [edge, patch] = [112, 14]

const convolution = (name: string, inputs: number, outputs: number): TensorPlan[] => [
  { name: `${name}.weight`, shape: [3, 3, inputs, outputs], fill: { exact: 1 / Math.sqrt(9 * inputs) } },
  bias(`${name}.bias`, outputs),
]

export const step3vl: Family = {
  name: 'step3vl',
  write(decoder, vision) {
    writeSmallDecoder(decoder, 'qwen3', {
      specials: ['<im_start>', '<im_end>', '<patch_start>', '<patch_end>', '<patch_newline>'],
    })
    writeVision(vision, {
      ...{ type: 'step3vl', edge, patch, fused: true },
      more: (part) =>
        ['ls1', 'ls2'].map((name) => ({ ...bias(`${part(name)}.weight`, towerWidth), fill: { constant: 0.5 } })),
      metadata: {
        'clip.vision.projector.scale_factor': { u32: 4 },
        'clip.vision.preproc_image_size': { u32: 2016 },
      },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        ...norm('v.pre_ln', towerWidth),
        ...convolution('mm.0', towerWidth, 2 * towerWidth),
        ...convolution('mm.1', 2 * towerWidth, 2 * towerWidth),
        matrix('mm.model.fc.weight', 2 * towerWidth, textWidth),
      ],
    })
  },
}
