import type { TensorPlan } from '../../../support/gguf-file.ts'
import { width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { edgeOf, towerWidth } from '../tower.ts'
import { learnedPositions, writeVision } from '../vision-file.ts'
import { bias, linear, norm } from '../weights.ts'

const [edge, patch, layers, window, query] = [edgeOf(64), 8, 3, 4, 2]
/** The first has averages as queries, the others each another of four patches. */
const features = [2, 0, 2]
const offsets = [-1, 1, 2]
const canvases = [1, 2, 2, 1, 2, 2, 3, 1, 1, 3, 3, 3].map((tiles) => tiles * edge)

const learned = (name: string, side: number): TensorPlan => ({
  name,
  shape: [towerWidth, side ** 2, 1],
  fill: { exact: 0.5 },
})

const projector = (index: number): TensorPlan[] => {
  const part = (name: string) => `v.proj_blk.${index}.${name}`
  return [
    learned(part('img_pos'), window),
    learned(part('query'), query),
    ...linear(part('linear'), towerWidth, textWidth),
    ...['norm', 'post_norm', 'self_attn_norm', 'cross_attn_norm', 'ffn_norm'].flatMap((name) =>
      norm(part(name), towerWidth),
    ),
    ...['self_attn', 'cross_attn'].flatMap((kind) =>
      ['q', 'k', 'v', 'out'].flatMap((end) => linear(part(`${kind}_${end}`), towerWidth, towerWidth)),
    ),
    ...linear(part('ffn_up'), towerWidth, 96),
    ...linear(part('ffn_down'), 96, towerWidth),
  ]
}

export const granite4: Family = {
  name: 'granite4_vision',
  write(decoder, vision) {
    writeDecoder(decoder, {
      architecture: 'granite',
      layers: 3,
      specials: ['<image>'],
      metadata: {
        'granite.deepstack_mapping': { i32: [-1, 2, 1] },
        'granite.embedding_scale': { f32: 2 },
        'granite.residual_scale': { f32: 0.5 },
        'granite.attention.scale': { f32: 0.2 },
        'granite.logit_scale': { f32: 2 },
      },
    })
    writeVision(vision, {
      ...{ type: 'granite4_vision', edge, patch, layers },
      metadata: {
        'clip.vision.feature_layer': { i32: features },
        'clip.vision.projector.spatial_offsets': { i32: offsets },
        'clip.vision.projector.window_side': { u32: window },
        'clip.vision.projector.query_side': { u32: query },
        'clip.vision.image_grid_pinpoints': { i32: canvases },
      },
      tensors: [
        ...learnedPositions((edge / patch) ** 2),
        bias('v.image_newline', textWidth),
        ...features.flatMap((_, index) => projector(index)),
      ],
    })
  },
}
