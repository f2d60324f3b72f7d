import type { Metadata } from '../../../gguf/index.ts'
import type { Detail, ImagePipeline, ImagePlan, Tile } from '../../image-architecture.ts'
import type { PatchReader } from '../../preprocess/patches.ts'
import { bicubic, type Colour, resize, resizeInto, type Size } from '../../preprocess/resize.ts'
import { gridOf } from '../../preprocess/sizes.ts'
import { autoTiles, canvasesOf, nearestShape } from '../../preprocess/tiling.ts'

const grey: Colour = [127, 127, 127]

/** The edge of the overview, and of a patch, in pixels. Files do not record them. */
export const overviewEdge = 1024
export const deepseekPatch = 16

interface DeepseekKind {
  /** The edge of a tile, in pixels. */
  edge: number
  /** The most tiles, if the file does not say. */
  most: number
  /** The tiles of a canvas, in tiles. */
  tiles(canvas: Size): readonly Tile[]
  /** Embeddings of the overview. */
  tokens: number
}

/**
 * DeepSeek-OCR: an image that is larger than a tile is stretched to the canvas of the nearest aspect and cut into tiles, and
 * an overview follows. After llama.cpp's tools/mtmd (`mtmd_image_preprocessor_deepseekocr`).
 */
export function deepseekTiles(
  metadata: Metadata,
  reader: PatchReader,
  { edge, most, tiles, tokens }: DeepseekKind,
): Omit<ImagePipeline, 'build'> {
  const vision = (key: string, fallback: number) => metadata.number(`clip.vision.${key}`, fallback)
  const [fewest, all] = [vision('preproc_min_tiles', 2), vision('preproc_max_tiles', most)]
  const whole = { width: overviewEdge, height: overviewEdge }

  /** In tiles; null if the image is not cut. */
  const canvasOf = (original: Size, detail: Detail): Size | null => {
    if (detail === 'low' || (original.width <= edge && original.height <= edge)) return null
    return nearestShape(original, canvasesOf(fewest, detail === 'auto' ? Math.min(all, autoTiles) : all), edge)
  }

  return {
    longestEdge: all * edge,

    plan(original, detail): ImagePlan {
      const canvas = canvasOf(original, detail)
      const cut = canvas === null ? [] : tiles(canvas)
      const name = canvas === null ? 'overview' : `${canvas.width}x${canvas.height}`
      return { original, detail, name, layout: [...cut, { image: 0, x: 0, y: 0, size: whole, tokens }, '\n'] }
    },

    scale(image, { original, detail }) {
      const overview = resizeInto(image, whole, bicubic, grey, 'nearest')
      const canvas = canvasOf(original, detail)
      if (canvas === null) return [overview]
      return [overview, resize(image, { width: canvas.width * edge, height: canvas.height * edge }, bicubic)]
    },

    prepare: reader.read,
    grid: ({ size }) => gridOf(size, deepseekPatch),
  }
}
