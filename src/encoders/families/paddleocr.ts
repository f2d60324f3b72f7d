import { ropeByHalves, triangles } from '../graph/positions.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { inOwnAspect, limitsIn, pageTokens } from '../preprocess/sizes.ts'
import { joinedPatches, twoLayers } from './parts/joined-patches.ts'

/** Patches along the edge of a square that becomes one embedding, which files do not record. */
const factor = 2

/**
 * PaddleOCR-VL: SigLIP with rotary positions, and with learned ones that are resized to the image, which keeps its aspect.
 * The decoder has rows and columns as positions (M-RoPE). After llama.cpp's tools/mtmd (models/paddleocr.cpp,
 * `mtmd_image_preprocessor_dyn_size`).
 */
export const paddleocr: ImageFamily = {
  types: ['paddleocr'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open: (metadata) =>
    joinedPatches(metadata, {
      factor,
      tower: { rope: ropeByHalves },
      positions: triangles,
      // PyTorch's default, which may differ from the tower's.
      epsilon: 1e-5,
      outside: (reader) =>
        inOwnAspect(
          reader,
          factor,
          limitsIn(metadata, reader.patch * factor),
          (tile, places) => [
            '<|IMAGE_START|>',
            { ...tile, tokens: places.rows * places.columns, places },
            '<|IMAGE_END|>',
          ],
          { auto: pageTokens },
        ),
      project: twoLayers,
    }),
}
