import { badModel } from '../../errors.ts'
import type { Metadata } from '../../gguf/index.ts'
import type { ImagePipeline } from '../image-architecture.ts'
import { bicubic, type Colour, resizeInto, type Size } from './resize.ts'
import { squareTile, tiling } from './tiling.ts'

/** CLIP's mean in bytes, with which LLaVA 1.5 pads the sides. */
export const meanColour: Colour = [122, 116, 104]

/**
 * LLaVA's two ways to read an image. 1.5: one square, its sides padded. 1.6 ("anyres"), if the file names canvases: the
 * tiles of the best canvas, followed by an overview, without text in between. After llama.cpp's tools/mtmd
 * (`mtmd_image_preprocessor_fixed_size` and `_llava_uhd`, mtmd-image.cpp).
 * @param edge of a tile, in pixels
 * @param tokens of a tile
 */
export function anyres(
  metadata: Metadata,
  edge: number,
  tokens: number,
): Pick<ImagePipeline, 'longestEdge' | 'plan' | 'scale'> {
  const canvases = canvasesIn(metadata, edge)
  if (canvases.length === 0) {
    const whole = squareTile(edge, tokens)(0, 0, 0)
    return {
      longestEdge: edge,
      plan: (original, detail) => ({ original, detail, name: 'whole', layout: [whole] }),
      scale: (image) => [resizeInto(image, whole.size, bicubic, meanColour)],
    }
  }
  return tiling(edge, canvases, tokens, null)
}

/** The canvases of the file, in tiles. */
export function canvasesIn(metadata: Metadata, edge: number): Size[] {
  const pixels = metadata.integers('clip.vision.image_grid_pinpoints')
  if (pixels.some((length) => length <= 0 || length % edge !== 0))
    throw badModel(`The canvases of the vision file are not whole tiles of ${edge} pixels.`)
  return Array.from({ length: Math.floor(pixels.length / 2) }, (_, at) => ({
    width: (pixels[2 * at] ?? 0) / edge,
    height: (pixels[2 * at + 1] ?? 0) / edge,
  }))
}
