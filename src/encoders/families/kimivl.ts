import { bicubicBetween, ropeByColumn, triangles } from '../graph/positions.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { inOwnAspect, limitsIn } from '../preprocess/sizes.ts'
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

  open(metadata) {
    const factor = metadata.number('clip.vision.projector.scale_factor', 1)
    return joinedPatches(metadata, {
      factor,
      tower: { rope: ropeByColumn },
      positions: triangles,
      // PyTorch's default, which may differ from the tower's.
      epsilon: 1e-5,
      outside: (reader) =>
        inOwnAspect(reader, factor, { least: 8, most: 1024 }, (tile, { rows, columns }) => [
          '<|media_start|>',
          { ...tile, tokens: rows * columns },
          '<|media_end|>',
        ]),
      project: twoLayers,
    })
  },
}

/**
 * Kimi K2.5 and newer: the same, with learned positions of which those for the frames of a video are not used, and with the
 * limits of the file. After llama.cpp's tools/mtmd (models/kimik25.cpp).
 */
export const kimik25: ImageFamily = {
  types: ['kimik25'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const factor = metadata.number('clip.vision.projector.scale_factor', 1)
    return joinedPatches(metadata, {
      factor,
      tower: { rope: ropeByColumn },
      positions: bicubicBetween,
      epsilon: metadata.number('clip.vision.attention.layer_norm_epsilon'),
      outside: (reader) =>
        inOwnAspect(
          reader,
          factor,
          limitsIn(metadata, reader.patch * factor, { least: 2, most: 4096 }),
          (tile, { rows, columns }) => ['<|media_begin|>', { ...tile, tokens: rows * columns }, '<|media_end|>'],
        ),
      project: twoLayers,
    })
  },
}
