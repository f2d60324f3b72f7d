import { ropeByColumn, triangles } from '../graph/positions.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { inOwnAspect } from '../preprocess/sizes.ts'
import { joinedPatches, twoLayers } from './parts/joined-patches.ts'

/**
 * Kimi-VL: MoonViT reads an image in its own aspect, with rotary positions and with learned positions that are resized to
 * it. Squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/kimivl.cpp,
 * `mtmd_image_preprocessor_dyn_size`).
 */
export const kimivl: ImageFamily = {
  types: ['kimivl'],
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
