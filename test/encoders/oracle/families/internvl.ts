import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, linear, norm } from '../weights.ts'

const [edge, patch, factor] = [edgeOf(32), 8, 2]

export const internvl: Family = {
  name: 'internvl',
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'qwen2', { specials: ['<img>', '</img>', '<IMG_CONTEXT>'] })
    const joined = towerWidth * factor ** 2
    writeVision(projector, {
      type: 'internvl',
      edge,
      patch,
      metadata: { 'clip.vision.projector.scale_factor': { u32: factor } },
      // All have scales; only the largest have norms of queries and keys.
      more: (part) => ['ls1', 'ls2', 'attn_q_norm', 'attn_k_norm'].map((name) => factors(`${part(name)}.weight`)),
      tensors: [
        bias('v.class_embd', towerWidth),
        ...learnedPositions((edge / patch) ** 2 + 1),
        ...norm('mm.model.mlp.0', joined),
        ...linear('mm.model.mlp.1', joined, textWidth),
        ...linear('mm.model.mlp.3', textWidth, textWidth),
      ],
    })
  },
}

const factors = (name: string) => ({ name, shape: [towerWidth], fill: { exact: 1 } })
