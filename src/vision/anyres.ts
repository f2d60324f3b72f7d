import { OrielError } from '../errors.ts'
import { type Architecture, type Detail, type PicturePlan, type Tile, tilesOf } from './architecture.ts'
import type { Metadata } from './metadata.ts'
import { bicubic, type Colour, resize, resizeInto, type Size } from './resize.ts'

/** Tiles beside the overview that `detail: auto` cuts a picture into, at most. */
const autoTiles = 2

/** CLIP's mean, as a byte: what LLaVA 1.5 fills the sides with. */
const meanColour: Colour = [122, 116, 104]

/** How a picture becomes square tiles, each of them encoded alike. */
export type Tiling = Pick<Architecture, 'longestEdge' | 'plan' | 'scale'>

/**
 * LLaVA's two ways with a picture. 1.5: one square with the whole of it, its sides filled. 1.6 ("anyres"), where the file
 * names grids: the grid that keeps most of its pixels, tile by tile, and an overview of the whole behind them. No text
 * stands between tiles. After llama.cpp's tools/mtmd (`mtmd_image_preprocessor_fixed_size` and `_llava_uhd`, mtmd-image.cpp).
 * @param edge of a tile, in pixels
 * @param tokens that a tile becomes
 */
export function anyres(metadata: Metadata, edge: number, tokens: number): Tiling {
  const square: Size = { width: edge, height: edge }
  const tile = (image: number, x: number, y: number): Tile => ({ image, x, y, size: square, tokens })
  const whole = tile(0, 0, 0)
  const grids = gridsOf(metadata, edge)
  if (grids.length === 0)
    return {
      longestEdge: edge,
      plan: (original, detail) => ({ original, detail, name: 'whole', layout: [whole] }),
      scale: (picture) => [resizeInto(picture, square, bicubic, meanColour)],
    }

  const gridFor = (original: Size, detail: Detail): Size | null => {
    if (detail === 'low' || (original.width <= edge && original.height <= edge)) return null
    const most = detail === 'auto' ? autoTiles : Number.POSITIVE_INFINITY
    return fullest(
      original,
      grids.filter(({ width, height }) => (width * height) / edge ** 2 <= most),
    )
  }

  return {
    longestEdge: Math.max(...grids.flatMap(({ width, height }) => [width, height])),

    plan(original: Size, detail: Detail): PicturePlan {
      const grid = gridFor(original, detail)
      if (grid === null) return { original, detail, name: 'overview', layout: [whole] }
      const layout: Tile[] = []
      for (let y = 0; y < grid.height; y += edge) for (let x = 0; x < grid.width; x += edge) layout.push(tile(1, x, y))
      return { original, detail, name: `${grid.width}x${grid.height}`, layout: [...layout, whole] }
    },

    scale(picture, plan) {
      const overview = resize(picture, square, bicubic)
      const grid = tilesOf(plan).length > 1 ? gridFor(plan.original, plan.detail) : null
      return grid === null ? [overview] : [overview, resizeInto(picture, grid, bicubic)]
    },
  }
}

/** The grids that the file names, each as the size of all its tiles. */
function gridsOf(metadata: Metadata, edge: number): Size[] {
  const numbers = metadata.integers('clip.vision.image_grid_pinpoints')
  const grids: Size[] = []
  for (let at = 0; at + 1 < numbers.length; at += 2)
    grids.push({ width: numbers[at] as number, height: numbers[at + 1] as number })
  if (grids.some(({ width, height }) => width <= 0 || height <= 0 || width % edge !== 0 || height % edge !== 0))
    throw new OrielError('invalid', `The vision file's grids are not made of whole tiles of ${edge} pixels.`, {
      code: 'bad_model',
    })
  return grids
}

/** Where most of the picture's pixels are kept, and then least is empty. Null if there is no grid. */
function fullest(original: Size, grids: readonly Size[]): Size | null {
  const f = Math.fround
  let best: { grid: Size; kept: number; wasted: number } | null = null
  for (const grid of grids) {
    const scale = Math.min(f(grid.width / original.width), f(grid.height / original.height))
    const scaled = Math.trunc(f(original.width * scale)) * Math.trunc(f(original.height * scale))
    const kept = Math.min(scaled, original.width * original.height)
    const wasted = grid.width * grid.height - kept
    if (best === null || kept > best.kept || (kept === best.kept && wasted < best.wasted)) best = { grid, kept, wasted }
  }
  return best?.grid ?? null
}
