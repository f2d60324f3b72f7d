import { type TensorPlan, writeGguf } from '../../../support/gguf-file.ts'
import { decoderOf, width as textWidth } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, matrix, norm } from '../weights.ts'

const [edge, patch, feedForward] = [edgeOf(64), 8, 64]

export const cogvlm: Family = {
  name: 'cogvlm',
  write(decoder, projector) {
    writeDecoder(decoder)
    writeVision(projector, {
      ...{ type: 'cogvlm', edge, patch, fused: true },
      // Its converter names no activation.
      metadata: { 'clip.use_gelu': { bool: false } },
      tensors: [
        ...learnedPositions((edge / patch) ** 2 + 1),
        { name: 'v.class_embd', shape: [towerWidth], fill: { exact: 0.3 } },
        matrix('mm.model.fc.weight', towerWidth, textWidth),
        ...norm('mm.post_fc_norm', textWidth),
        matrix('mm.gate.weight', textWidth, feedForward),
        matrix('mm.up.weight', textWidth, feedForward),
        matrix('mm.down.weight', feedForward, textWidth),
        bias('v.boi', textWidth),
        bias('v.eoi', textWidth),
      ],
    })
  },
}

/** Every matrix of its layers is there twice: for text, and for images. */
function writeDecoder(file: string): void {
  const { metadata, tensors } = decoderOf({
    architecture: 'cogvlm',
    specials: [],
    more: (layer) => {
      const part = (name: string) => `blk.${layer}.${name}.weight`
      return [
        matrix(part('attn_qkv'), textWidth, 3 * textWidth),
        matrix(part('vis_attn_qkv'), textWidth, 3 * textWidth),
        matrix(part('vis_attn_output'), textWidth, textWidth),
        matrix(part('vis_gate'), textWidth, feedForward),
        matrix(part('vis_up'), textWidth, feedForward),
        matrix(part('vis_down'), feedForward, textWidth),
      ]
    },
  })
  const own = ({ name }: TensorPlan): boolean => !/attn_[qkv]\.weight$/.test(name)
  writeGguf(file, metadata, tensors.filter(own), 1)
}
