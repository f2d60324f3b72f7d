import { OrielError } from '../errors.ts'
import type { Architecture } from './architecture.ts'
import type { Metadata } from './metadata.ts'
import { bicubic, type Colour, resizeInto, type Size } from './resize.ts'
import { squareTile, tiling } from './tiling.ts'

/** CLIP's mean, as a byte: what LLaVA 1.5 fills the sides with. */
const meanColour: Colour = [122, 116, 104]

/**
 * LLaVA's two ways with a picture. 1.5: one square with the whole of it, its sides filled. 1.6 ("anyres"), where the file
 * names canvases: the tiles of the best of them, and an overview of the whole behind them, without any text between. After
 * llama.cpp's tools/mtmd (`mtmd_image_preprocessor_fixed_size` and `_llava_uhd`, mtmd-image.cpp).
 * @param edge of a tile, in pixels
 * @param tokens that a tile becomes
 */
export function anyres(
  metadata: Metadata,
  edge: number,
  tokens: number,
): Pick<Architecture, 'longestEdge' | 'plan' | 'scale'> {
  const canvases = canvasesOf(metadata, edge)
  if (canvases.length === 0) {
    const whole = squareTile(edge, tokens)(0, 0, 0)
    return {
      longestEdge: edge,
      plan: (original, detail) => ({ original, detail, name: 'whole', layout: [whole] }),
      scale: (picture) => [resizeInto(picture, whole.size, bicubic, meanColour)],
    }
  }
  const { longestEdge, canvas, plan, scale } = tiling(edge, canvases, tokens)
  return {
    longestEdge,
    plan(original, detail) {
      const best = canvas(original, detail)
      const { overview, tiles } = plan(best)
      const name = best === null ? 'overview' : `${best.width}x${best.height}`
      return { original, detail, name, layout: [...tiles, overview] }
    },
    scale: (picture, { original, detail }) => scale(picture, canvas(original, detail)),
  }
}

/** The canvases that the file names, in tiles. */
function canvasesOf(metadata: Metadata, edge: number): Size[] {
  const pixels = metadata.integers('clip.vision.image_grid_pinpoints')
  if (pixels.some((length) => length <= 0 || length % edge !== 0))
    throw new OrielError('invalid', `The vision file's canvases are not made of whole tiles of ${edge} pixels.`, {
      code: 'bad_model',
    })
  return Array.from({ length: Math.floor(pixels.length / 2) }, (_, at) => ({
    width: (pixels[2 * at] ?? 0) / edge,
    height: (pixels[2 * at + 1] ?? 0) / edge,
  }))
}
