import type { Metadata } from '../../gguf/index.ts'
import { bicubicBetween, type Filter, ropeByColumn, triangles } from '../graph/positions.ts'
import type { ImageFamily, ImagePipeline } from '../image-architecture.ts'
import { inOwnAspect, type Limits, limitsIn } from '../preprocess/sizes.ts'
import { joinedPatches, twoLayers } from './parts/joined-patches.ts'

/**
 * Kimi-VL: MoonViT reads an image in its own aspect, with rotary positions and with learned positions that are resized to
 * it. Squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/kimivl.cpp,
 * `mtmd_image_preprocessor_dyn_size`).
 */
export const kimivl: ImageFamily = {
  types: ['kimivl'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open: (metadata) =>
    moonVit(metadata, {
      positions: triangles,
      // PyTorch's default, which may differ from the tower's.
      epsilon: 1e-5,
      limits: () => ({ least: 8, most: 1024 }),
      begin: '<|media_start|>',
    }),
}

/**
 * Kimi K2.5 and newer: the same, with learned positions of which those for the frames of a video are not used, and with the
 * limits of the file. After llama.cpp's tools/mtmd (models/kimik25.cpp).
 */
export const kimik25: ImageFamily = {
  types: ['kimik25'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open: (metadata) =>
    moonVit(metadata, {
      positions: bicubicBetween,
      epsilon: metadata.number('clip.vision.attention.layer_norm_epsilon'),
      limits: (edge) => limitsIn(metadata, edge, { least: 2, most: 4096 }),
      begin: '<|media_begin|>',
    }),
}

/** How the versions of MoonViT differ. */
interface Version {
  /** How learned positions are resized to the image. */
  positions: Filter
  /** Of the norm of each patch before it is joined with others. */
  epsilon: number
  /** @param edge of the square that becomes one embedding, in pixels */
  limits(edge: number): Limits
  /** The mark before an image. */
  begin: string
}

function moonVit(metadata: Metadata, { positions, epsilon, limits, begin }: Version): ImagePipeline {
  const factor = metadata.number('clip.vision.projector.scale_factor', 1)
  return joinedPatches(metadata, {
    factor,
    tower: { rope: ropeByColumn },
    positions,
    epsilon,
    outside: (reader) =>
      inOwnAspect(reader, factor, limits(reader.patch * factor), (tile, { rows, columns }) => [
        begin,
        { ...tile, tokens: rows * columns },
        '<|media_end|>',
      ]),
    project: twoLayers,
  })
}
