import { type TensorPlan, type Value, writeGguf } from '../../../../bench/gguf-file.ts'
import { epsilon, width as textWidth, writeDecoder } from '../decoder.ts'
import type { Family } from '../families.ts'
import { linear, norm, patches, towerLayers } from '../weights.ts'

const [width, feedForward, layers, patch, edge] = [64, 128, 3, 16, 64]

/** LLaVA 1.5: one square picture with its sides filled. */
export const llava: Family = {
  name: 'mlp',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    writeGguf(projector, metadata({}), [...clipTensors({ edge, patch }), ...twoLayers(width)], 2)
  },
}

/** LLaVA 1.6: grids of tiles. Early converters changed the names of two matrices over. */
export const llavaAnyres: Family = {
  name: 'mlp-anyres',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    const grids = [64, 128, 128, 64, 128, 128, 192, 64, 64, 192]
    const swapped = clipTensors({ edge, patch }).map((tensor) => ({ ...tensor, name: changedOver(tensor.name) }))
    const plan = metadata({ 'clip.vision.image_grid_pinpoints': { i32: grids } })
    writeGguf(projector, plan, [...swapped, ...twoLayers(width)], 3)
  },
}

/** Yi-VL: a norm behind each layer of the projector. */
export const yiVl: Family = {
  name: 'mlp-norm',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    const tensors = [
      ...clipTensors({ edge, patch }),
      ...linear('mm.0', width, textWidth),
      ...norm('mm.1', textWidth),
      ...linear('mm.3', textWidth, textWidth),
      ...norm('mm.4', textWidth),
    ]
    writeGguf(projector, metadata({ 'clip.use_gelu': { bool: false } }), tensors, 4)
  },
}

/** Granite Vision: SigLIP, the features of several layers, tiles that are not whole patches. */
export const granite: Family = {
  name: 'mlp-granite',
  write(decoder, projector) {
    writeDecoder(decoder, { specials: [] })
    const odd = edge + 6
    const more: Record<string, Value> = {
      'clip.use_gelu': { bool: true },
      'clip.vision.image_size': { u32: odd },
      'clip.vision.feature_layer': { i32: [1, 2, 3] },
      'clip.vision.image_grid_pinpoints': {
        i32: [odd, 2 * odd, 2 * odd, odd, 4 * odd, odd, odd, 4 * odd, 2 * odd, 2 * odd],
      },
    }
    const tensors = clipTensors({ edge, patch }).filter(({ name }) => !/class_embd|pre_ln/.test(name))
    const positions = { name: 'v.position_embd.weight', shape: [width, (edge / patch) ** 2], fill: { exact: 0.3 } }
    const siglip = tensors.map((tensor) => (tensor.name === positions.name ? positions : tensor))
    writeGguf(projector, metadata(more), [...siglip, ...norm('v.post_ln', width), ...twoLayers(width * 3)], 5)
  },
}

const twoLayers = (inputs: number): TensorPlan[] => [
  ...linear('mm.0', inputs, textWidth),
  ...linear('mm.2', textWidth, textWidth),
]

const changedOver = (name: string): string =>
  name.replace(/ffn_(up|down)/, (_, which) => (which === 'up' ? 'ffn_down' : 'ffn_up'))

function metadata(more: Record<string, Value>): Record<string, Value> {
  return clipMetadata('mlp', { edge, patch }, more)
}

/** What a vision file with CLIP says of itself. */
export const clipMetadata = (
  projector: string,
  { edge: pixels, patch: size }: { edge: number; patch: number },
  more: Record<string, Value> = {},
): Record<string, Value> => ({
  'general.architecture': { string: 'clip' },
  'general.name': { string: 'a test' },
  'clip.has_vision_encoder': { bool: true },
  'clip.has_llava_projector': { bool: true },
  'clip.projector_type': { string: projector },
  'clip.vision.image_size': { u32: pixels },
  'clip.vision.patch_size': { u32: size },
  'clip.vision.embedding_length': { u32: width },
  'clip.vision.feed_forward_length': { u32: feedForward },
  'clip.vision.block_count': { u32: layers },
  'clip.vision.attention.head_count': { u32: 2 },
  'clip.vision.attention.layer_norm_epsilon': { f32: epsilon },
  'clip.vision.projection_dim': { u32: 48 },
  'clip.vision.image_mean': { f32: [0.48, 0.46, 0.41] },
  'clip.vision.image_std': { f32: [0.27, 0.26, 0.28] },
  ...more,
})

/** CLIP with a class embedding and a norm before its layers. */
export const clipTensors = ({ edge: pixels, patch: size }: { edge: number; patch: number }): TensorPlan[] => [
  patches('v.patch_embd.weight', size, width),
  { name: 'v.class_embd', shape: [width], fill: { exact: 0.5 } },
  { name: 'v.position_embd.weight', shape: [width, (pixels / size) ** 2 + 1], fill: { exact: 0.3 } },
  ...norm('v.pre_ln', width),
  ...towerLayers(layers, width, feedForward),
]

export const clipWidth = width
