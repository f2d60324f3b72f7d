import type { TensorPlan, Value } from '../../../support/gguf-file.ts'
import { writeSmallDecoder } from '../../../support/small-decoders.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { writeVision } from '../vision-file.ts'
import { bias, linear, norm } from '../weights.ts'

const [layers, patch, edge] = [3, 16, edgeOf(64)]

/** LLaVA 1.5: one square, its sides padded. */
export const llava: Family = {
  name: 'mlp',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeVision(projector, {
      ...{ type: 'mlp', edge, patch, layers, metadata: clipMetadata },
      tensors: [...clipTensors(edge / patch), ...twoLayers(towerWidth)],
    })
  },
}

/** LLaVA 1.6: canvases of tiles. Early converters swapped the names of two matrices. */
export const llavaAnyres: Family = {
  name: 'mlp-anyres',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    const canvases = [1, 2, 2, 1, 2, 2, 3, 1, 1, 3].map((tiles) => tiles * edge)
    writeVision(projector, {
      ...{ type: 'mlp', edge, patch, layers, swapped: true },
      metadata: { ...clipMetadata, 'clip.vision.image_grid_pinpoints': { i32: canvases } },
      tensors: [...clipTensors(edge / patch), ...twoLayers(towerWidth)],
    })
  },
}

/** Yi-VL: a norm after each layer of the projector. */
export const yiVl: Family = {
  name: 'mlp-norm',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeVision(projector, {
      ...{ type: 'mlp', edge, patch, layers, metadata: clipMetadata },
      tensors: [
        ...clipTensors(edge / patch),
        ...linear('mm.0', towerWidth, textWidth),
        ...norm('mm.1', textWidth),
        ...linear('mm.3', textWidth, textWidth),
        ...norm('mm.4', textWidth),
      ],
    })
  },
}

/** Granite Vision: SigLIP, the features of several layers, tiles that are not whole patches. */
export const granite: Family = {
  name: 'mlp-granite',
  write(decoder, projector) {
    writeSmallDecoder(decoder, 'granite')
    const odd = edge + 6
    writeVision(projector, {
      ...{ type: 'mlp', edge: odd, patch, layers },
      metadata: {
        'clip.vision.feature_layer': { i32: [1, 2, 3] },
        'clip.vision.image_grid_pinpoints': { i32: [1, 2, 2, 1, 4, 1, 1, 4, 2, 2].map((tiles) => tiles * odd) },
      },
      tensors: [
        bias('v.patch_embd.bias', towerWidth),
        positions((edge / patch) ** 2),
        ...norm('v.post_ln', towerWidth),
        ...twoLayers(towerWidth * 3),
      ],
    })
  },
}

const twoLayers = (inputs: number): TensorPlan[] => [
  ...linear('mm.0', inputs, textWidth),
  ...linear('mm.2', textWidth, textWidth),
]

const positions = (rows: number): TensorPlan => ({
  name: 'v.position_embd.weight',
  shape: [towerWidth, rows],
  fill: { exact: 0.3 },
})

/** For files with CLIP, whose `projection_dim` is not the width of the embeddings. */
export const clipMetadata: Record<string, Value> = {
  'clip.use_gelu': { bool: false },
  'clip.has_llava_projector': { bool: true },
  'clip.vision.projection_dim': { u32: 48 },
}

/** CLIP's class embedding, positions, and the norm before its layers. @param side patches along an edge */
export const clipTensors = (side: number): TensorPlan[] => [
  { name: 'v.class_embd', shape: [towerWidth], fill: { exact: 0.5 } },
  positions(side ** 2 + 1),
  ...norm('v.pre_ln', towerWidth),
]
