import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { matrix, ones } from '../weights.ts'

const [edge, patch, factor] = [128, 8, 2]

/** Mistral Small 3: Pixtral with a patch merger. */
export const mistral: Family = {
  name: 'pixtral-merged',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: ['[IMG]', '[IMG_BREAK]', '[IMG_END]'] })
    writeVision(projector, {
      type: 'pixtral',
      edge,
      patch,
      norms: 'rms',
      gated: true,
      metadata: { 'clip.vision.spatial_merge_size': { u32: factor } },
      tensors: [
        ones('v.pre_ln.weight', towerWidth),
        { name: 'v.token_embd.img_break', shape: [textWidth], fill: { exact: 1 } },
        ones('mm.input_norm.weight', towerWidth),
        matrix('mm.patch_merger.weight', towerWidth * factor ** 2, towerWidth),
        matrix('mm.1.weight', towerWidth, textWidth),
        matrix('mm.2.weight', textWidth, textWidth),
      ],
    })
  },
}
