import type { Metadata } from '../../gguf/index.ts'
import { bicubicBetween, type Filter, ropeByColumn, triangles } from '../graph/positions.ts'
import type { ImageFamily, ImagePipeline } from '../image-architecture.ts'
import { inOwnAspect, type Limits, limitsIn } from '../preprocess/sizes.ts'
import { joinedPatches, twoLayers } from './parts/joined-patches.ts'

/** The mark after an image. */
const end = '<|media_end|>'

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
      marks: { begin: '<|media_start|>', end },
    }),
}

/**
 * Kimi K2.5 and newer, and GLM-5.2-V: the same, with learned positions of which those for the frames of a video are not used,
 * and with the limits of the file. GLM has marks of its own, and nothing in its vision file tells it from Kimi. After
 * llama.cpp's tools/mtmd (models/kimik25.cpp).
 */
export const kimik25: ImageFamily = {
  types: ['kimik25'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const begin = '<|media_begin|>'
    return {
      ...moonVit(metadata, {
        positions: bicubicBetween,
        epsilon: metadata.number('clip.vision.attention.layer_norm_epsilon'),
        limits: (edge) => limitsIn(metadata, edge, { least: 2, most: 4096 }),
        marks: { begin, end },
      }),
      otherMarks: { [begin]: '<|begin_of_image|>', [end]: '<|end_of_image|>' },
    }
  },
}

/** How the versions of MoonViT differ. */
interface Version {
  /** How learned positions are resized to the image. */
  positions: Filter
  /** Of the norm of each patch before it is joined with others. */
  epsilon: number
  /** @param edge of the square that becomes one embedding, in pixels */
  limits(edge: number): Limits
  /** Around an image. */
  marks: { begin: string; end: string }
}

function moonVit(metadata: Metadata, { positions, epsilon, limits, marks }: Version): ImagePipeline {
  const factor = metadata.number('clip.vision.projector.scale_factor', 1)
  return joinedPatches(metadata, {
    factor,
    tower: { rope: ropeByColumn },
    positions,
    epsilon,
    outside: (reader) =>
      inOwnAspect(reader, factor, limits(reader.patch * factor), (tile, { rows, columns }) => [
        marks.begin,
        { ...tile, tokens: rows * columns },
        marks.end,
      ]),
    project: twoLayers,
  })
}
