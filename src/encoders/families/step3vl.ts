import { type GraphBuilder, linear } from '../graph/builder.ts'
import { resizedPositions, ropeByColumn } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { Detail, ImageFamily, ImagePlan, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bilinear, type Raster, resize, type Size } from '../preprocess/resize.ts'
import { autoTiles } from '../preprocess/tiling.ts'

/** Constants of llama.cpp for this family (tools/mtmd/mtmd-image.h): the edge of a slice, in pixels. */
const sliceEdge = 504
/** An image of a longer aspect is cut, even if it is small; one of the longest is cut into squares of its shorter edge. */
const [longAspect, longestAspect] = [1.5, 4]
/** Images of the longest aspect that are narrower are filled up to a square, in pixels. */
const narrow = 32
/** The share of a slice that is worth one more. */
const worthwhile = 0.2

/**
 * Step3-VL: an image is cut into slices with marks around each and after each row, and an overview follows. Both are
 * sampled between pixels in floats, however much they shrink. Two convolutions make 16 patches one. After llama.cpp's
 * tools/mtmd (models/step3vl.cpp, `mtmd_image_preprocessor_step3vl`, `MTMD_SLICE_TMPL_STEP3VL`).
 */
export const step3vl: ImageFamily = {
  types: ['step3vl'],
  width: (metadata) => metadata.needTensor('mm.model.fc.weight').rows,

  open(metadata) {
    const tower = transformer(metadata, { rope: ropeByColumn })
    const { patch, normalized } = patchReader(metadata)
    const factor = metadata.number('clip.vision.projector.scale_factor', 4)
    const edge = metadata.number('clip.vision.image_size')
    const longest = metadata.number('clip.vision.preproc_image_size', 0) || 3024
    const edgeOf = ({ image }: Tile) => (image === 0 ? edge : sliceEdge)
    const grid = (tile: Tile) => ({ rows: edgeOf(tile) / patch, columns: edgeOf(tile) / patch })
    const tokens = (length: number) => (length / patch / factor) ** 2

    const planned = (original: Size, detail: Detail) => {
      const most = detail === 'auto' ? Math.min(longest, 2 * sliceEdge) : longest
      const prepared = preparedSize(original, most)
      const slices = slicesOf(prepared, edge)
      const few = detail === 'high' || slices.columns.length * slices.rows.length <= autoTiles
      return { prepared, most, slices: detail === 'low' || !few ? null : slices }
    }

    return {
      longestEdge: longest,

      plan(original, detail): ImagePlan {
        const { prepared, slices } = planned(original, detail)
        const layout: (string | Tile)[] = []
        const { columns, rows, window, size } = slices ?? { columns: [], rows: [], window: 0, size: prepared }
        for (const [row, y] of rows.entries()) {
          if (row > 0) layout.push('<patch_newline>')
          for (const x of columns) {
            const seen = { width: Math.min(window, size.width - x), height: Math.min(window, size.height - y) }
            layout.push('<patch_start>', { image: 1, x, y, size: seen, tokens: tokens(sliceEdge) }, '<patch_end>')
          }
        }
        layout.push('<im_start>', { image: 0, x: 0, y: 0, size: prepared, tokens: tokens(edge) }, '<im_end>')
        const name = `${detail} ${prepared.width}x${prepared.height} ${columns.length}x${rows.length}`
        return { original, detail, name, layout }
      },

      scale(image, { original, detail }) {
        const { prepared, slices } = planned(original, detail)
        const whole = resize(isNarrow(original) ? squared(image) : image, prepared, bilinear)
        return slices === null || slices.columns.length === 0 ? [whole] : [whole, resize(whole, slices.size, bilinear)]
      },

      prepare(scaled, tile) {
        const [whole] = scaled
        const raster = scaled[tile.image]
        if (whole === undefined || raster === undefined) throw new Error('a tile of an image that was not scaled')
        const window = windowOf(whole, edge)
        const area = tile.image === 0 ? tile.size : { width: window, height: window }
        return sampled(raster, tile, area, edgeOf(tile), patch, normalized)
      },

      grid,

      build<N>(graph: GraphBuilder<N>, tile: Tile): N {
        const of = grid(tile)
        const patches = linear(graph, graph.input(of.rows * of.columns, 3 * patch * patch), 'v.patch_embd')
        let x = tower.all(graph, graph.add(patches, resizedPositions(graph, tower.width)))
        for (const [index, name] of ['mm.0', 'mm.1'].entries()) {
          const divided = 2 ** index
          const rest = { rows: of.rows / divided, columns: of.columns / divided }
          x = graph.convolution(x, graph.weight(`${name}.weight`), rest, 2, 'centred', divided)
          if (graph.has(`${name}.bias`)) x = graph.add(x, graph.weight(`${name}.bias`))
        }
        return graph.matmul(graph.weight('mm.model.fc.weight'), x)
      },
    }
  },
}

const isNarrow = ({ width, height }: Size): boolean => {
  const aspect = Math.fround(width / height)
  return Math.min(width, height) < narrow && (aspect > longestAspect || aspect < 1 / longestAspect)
}

/** The size of the overview before it is sampled: at most `most` along the longer edge. */
function preparedSize(original: Size, most: number): Size {
  const f = Math.fround
  const longer = Math.max(original.width, original.height)
  const size = isNarrow(original) ? { width: longer, height: longer } : original
  if (longer <= most) return size
  const scale = f(most / longer)
  const scaled = (length: number) => Math.max(1, Math.floor(f(length * scale)))
  return { width: scaled(size.width), height: scaled(size.height) }
}

/** Fills an image up with black, at the right or at the bottom. */
function squared({ width, height, rgb }: Raster): Raster {
  const edge = Math.max(width, height)
  const out = new Uint8Array(edge * edge * 3)
  for (let row = 0; row < height; row++) out.set(rgb.subarray(row * width * 3, (row + 1) * width * 3), row * edge * 3)
  return { width: edge, height: edge, rgb: out }
}

/** The edge of the squares that an image is cut into, in pixels; 0 if it is not cut. @param whole edge of the overview */
function windowOf({ width, height }: Size, whole: number): number {
  const [longer, shorter] = [Math.max(width, height), Math.min(width, height)]
  const aspect = Math.fround(longer / shorter)
  if (longer <= whole) return aspect > longAspect ? shorter : 0
  return aspect > longestAspect ? Math.min(shorter, sliceEdge) : sliceEdge
}

/** Where the slices begin, and the size of the image that they are cut from. */
function slicesOf(prepared: Size, whole: number) {
  const window = windowOf(prepared, whole)
  if (window === 0) return { window, columns: [], rows: [], size: prepared }
  /** Whole windows, if there is room for one. */
  const extent = (length: number): number => {
    const ratio = Math.fround(length / window)
    if (ratio < 1) return length
    return window * (Math.floor(ratio) + (Math.fround(ratio - Math.floor(ratio)) > Math.fround(worthwhile) ? 1 : 0))
  }
  const size = { width: extent(prepared.width), height: extent(prepared.height) }
  const starts = (length: number) =>
    Array.from({ length: Math.max(1, Math.ceil(length / window)) }, (_, at) => at * window)
  return { window, columns: starts(size.width), rows: starts(size.height), size }
}

/**
 * An area of a raster as patches of a square of `edge` pixels, each a mean of the four nearest pixels by distance, in 32-bit
 * floats: `img_u8_resize_bilinear_to_f32`. What is beyond the raster is black.
 * @param normalized the input of the encoder for each byte of each colour
 */
function sampled(
  { width, height, rgb }: Raster,
  { x: left, y: top }: Tile,
  area: Size,
  edge: number,
  patch: number,
  normalized: readonly Float32Array[],
): Float32Array {
  const f = Math.fround
  const along = (length: number) => {
    const scale = f(length / edge)
    return Array.from({ length: edge }, (_, at) => {
      const place = f(f(f(at + 0.5) * scale) - 0.5)
      const first = Math.floor(place)
      const inside = (index: number) => Math.max(0, Math.min(index, length - 1))
      return { from: inside(first), to: inside(first + 1), share: f(place - first) }
    })
  }
  const [across, down] = [along(area.width), along(area.height)]
  const out = new Float32Array(3 * edge * edge)
  const side = edge / patch
  for (const [colour, values] of normalized.entries()) {
    const at = (x: number, y: number): number => {
      const byte = left + x < width && top + y < height ? rgb[((top + y) * width + left + x) * 3 + colour] : 0
      return values[byte as number] as number
    }
    const between = (from: number, to: number, share: number) => f(from + f(f(to - from) * share))
    for (const [y, vertical] of down.entries())
      for (const [x, horizontal] of across.entries()) {
        const upper = between(at(horizontal.from, vertical.from), at(horizontal.to, vertical.from), horizontal.share)
        const lower = between(at(horizontal.from, vertical.to), at(horizontal.to, vertical.to), horizontal.share)
        const [row, column] = [Math.floor(y / patch), Math.floor(x / patch)]
        const to = ((row * side + column) * 3 + colour) * patch * patch + (y % patch) * patch + (x % patch)
        out[to] = between(upper, lower, vertical.share)
      }
  }
  return out
}
