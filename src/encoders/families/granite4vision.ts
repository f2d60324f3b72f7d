import { badModel } from '../../errors.ts'
import type { Metadata } from '../../gguf/index.ts'
import { type GraphBuilder, type Grid, layerNorm, linear } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { Area, Detail, ImageFamily, Tile } from '../image-architecture.ts'
import { canvasesIn } from '../preprocess/anyres.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bicubic, resize, resizeInto, type Size } from '../preprocess/resize.ts'
import { autoTiles, bestCanvas, squareTile } from '../preprocess/tiling.ts'
import { qFormerLayer } from './parts/qformer.ts'

/** Constants of llama.cpp for the projectors. */
const [headWidth, epsilon] = [64, 1e-12]

/**
 * Granite 4 Vision: an overview, and the tiles of the best canvas, whose squares the decoder reads line by line as one image,
 * without those of the padding and with a learned break after each line. Features of several layers of SigLIP each have a
 * projector of their own, in which a few queries look at each window of patches; the first of them is the embedding, and the
 * others go to layers of the decoder (deepstack). After llama.cpp's tools/mtmd (models/granite4-vision.cpp,
 * `mtmd_image_preprocessor_granite`).
 */
export const granite4vision: ImageFamily = {
  types: ['granite4_vision'],
  width: (metadata) => metadata.needTensor('v.proj_blk.0.linear.weight').rows * featuresIn(metadata).length,

  open(metadata, width) {
    const tower = transformer(metadata)
    const reader = patchReader(metadata)
    const edge = metadata.number('clip.vision.image_size')
    const canvases = canvasesIn(metadata, edge)
    const features = featuresIn(metadata)
    const offsets = metadata.integers('clip.vision.projector.spatial_offsets')
    const windows = windowsIn(metadata, Math.floor(edge / reader.patch))
    const { patches, squares } = windows
    const whole = { width: edge, height: edge }
    const tile = squareTile(edge, squares ** 2)

    /** In tiles; null: the overview alone. */
    const canvasOf = (original: Size, detail: Detail): Size | null => {
      if (detail === 'low') return null
      const most = detail === 'auto' ? autoTiles : Number.POSITIVE_INFINITY
      return bestCanvas(
        original,
        canvases.filter(({ width, height }) => width * height <= most),
        edge,
      )
    }

    return {
      longestEdge: edge * Math.max(1, ...canvases.flatMap(({ width, height }) => [width, height])),

      plan(original, detail) {
        const canvas = canvasOf(original, detail)
        const shown = canvas && shownIn({ width: canvas.width * squares, height: canvas.height * squares }, original)
        const name = canvas && shown ? `${canvas.width}x${canvas.height} ${Object.values(shown)}` : 'overview'
        const lines = shown === null ? [] : rowsOf(shown, squares, tile)
        return { original, detail, name, layout: [tile(0, 0, 0), ...lines, '\n'] }
      },

      scale(image, { original, detail }) {
        const overview = resize(image, whole, bicubic)
        const canvas = canvasOf(original, detail)
        if (canvas === null) return [overview]
        return [overview, resizeInto(image, { width: canvas.width * edge, height: canvas.height * edge }, bicubic)]
      },

      prepare: reader.read,
      grid: () => ({ rows: patches, columns: patches }),

      build<N>(graph: GraphBuilder<N>): N {
        const pixels = graph.input(patches ** 2, 3 * reader.patch ** 2)
        let x = graph.add(linear(graph, pixels, 'v.patch_embd'), graph.weight('v.position_embd.weight'))
        const seen: N[] = []
        for (let layer = 0; layer <= Math.max(...features); layer++) {
          x = tower.layer(graph, x, layer)
          seen.push(x)
        }
        const projected = features.map((layer, index) => {
          const y = layerNorm(graph, seen[layer] as N, `v.proj_blk.${index}.norm`, tower.epsilon)
          return project(graph, y, `v.proj_blk.${index}`, offsets[index] ?? -1, windows)
        })
        return projected.reduce((joined, next) => graph.concatColumns(joined, next))
      },

      finisher(weights) {
        const one = weights.floats('v.image_newline')
        const pause = Float32Array.from({ length: width }, (_, at) => one[at % one.length] as number)
        return (embeddings, { tokens, shown }) => {
          if (shown === undefined) return embeddings
          const out = new Float32Array(tokens * width)
          let to = 0
          const put = (values: Float32Array) => {
            out.set(values, to)
            to += values.length
          }
          for (let row = shown.y; row < shown.y + shown.height; row++) {
            for (let column = shown.x; column < shown.x + shown.width; column++) {
              const before = Math.floor(column / squares) * squares ** 2
              const from = (before + row * squares + (column % squares)) * width
              put(embeddings.subarray(from, from + width))
            }
            put(pause)
          }
          return out
        }
      },
    }
  },
}

/** The layers whose features have a projector, in the order of the projectors. */
function featuresIn(metadata: Metadata): readonly number[] {
  const layers = metadata.number('clip.vision.block_count')
  const features = metadata.integers('clip.vision.feature_layer')
  if (features.length === 0 || features.some((layer) => layer < 0 || layer >= layers))
    throw badModel(`The feature_layer of the vision file does not name some of its ${layers} layers.`)
  return features
}

/** The squares of a canvas that show the image and not its padding: llama.cpp's `clip_anyres_unpad`. */
function shownIn(canvas: Size, { width, height }: Size): Area {
  const f = Math.fround
  const fitted = (edge: number, other: number, by: number) => Math.floor((edge * other) / by + 1e-7)
  if (f(width / height) > f(canvas.width / canvas.height)) {
    const y = Math.trunc((canvas.height - fitted(height, canvas.width, width)) / 2)
    return { x: 0, y, width: canvas.width, height: canvas.height - 2 * y }
  }
  const x = Math.trunc((canvas.width - fitted(width, canvas.height, height)) / 2)
  return { x, y: 0, width: canvas.width - 2 * x, height: canvas.height }
}

/**
 * The rows of tiles that show something, without tiles that are all padding.
 * @param shown of the canvas, in squares. @param squares along the edge of a tile
 */
function rowsOf({ x, y, width, height }: Area, squares: number, tile: ReturnType<typeof squareTile>): Tile[] {
  const tiles = (from: number, length: number) => {
    const first = Math.floor(from / squares)
    const count = Math.max(1, Math.ceil((from + length) / squares) - first)
    return Array.from({ length: count }, (_, at) => first + at)
  }
  return tiles(y, height).flatMap((row) => {
    const parts = tiles(x, width).map((column) => tile(1, row, column))
    const top = Math.max(y - row * squares, 0)
    const lines = Math.min(y + height - row * squares, squares) - top
    const [first] = parts
    if (first === undefined || lines <= 0) return []
    return {
      ...{ ...first, parts, tokens: lines * (width + 1) },
      size: { width: first.size.width * parts.length, height: first.size.height },
      shown: { x: x % squares, y: top, width, height: lines },
    }
  })
}

/** How the projectors cut a tile of patches into windows. */
function windowsIn(metadata: Metadata, patches: number) {
  const seen = metadata.number('clip.vision.projector.window_side')
  const asked = metadata.number('clip.vision.projector.query_side')
  if (patches % seen !== 0) throw badModel(`A tile of ${patches} x ${patches} patches is not whole windows of ${seen}.`)
  const heads = metadata.number('clip.vision.embedding_length') / headWidth
  return { patches, squares: (patches / seen) * asked, seen, asked, heads }
}

/** The rows of a square grid window by window. @param edge of a window */
function inWindows(side: number, edge: number): Int32Array {
  const across = side / edge
  return Int32Array.from({ length: side * side }, (_, at) => {
    const [window, within] = [Math.floor(at / edge ** 2), at % edge ** 2]
    const row = Math.floor(window / across) * edge + Math.floor(within / edge)
    return row * side + (window % across) * edge + (within % edge)
  })
}

/** The place in windows of each row of a square grid. */
function outOfWindows(side: number, edge: number): Int32Array {
  const places = new Int32Array(side * side)
  inWindows(side, edge).forEach((row, place) => {
    places[row] = place
  })
  return places
}

/**
 * In each window the queries, which are the patches made fewer and learned numbers, attend to each other and to all patches.
 * @param x `[patches, width]`
 * @param offset which of four patches is a query; -1: their average
 */
function project<N>(
  graph: GraphBuilder<N>,
  x: N,
  name: string,
  offset: number,
  { patches, squares, seen, asked, heads }: ReturnType<typeof windowsIn>,
): N {
  const grid: Grid = { rows: patches, columns: patches }
  const by = patches / squares
  const fewer =
    offset < 0
      ? graph.averagePool(x, grid, { rows: by, columns: by })
      : graph.takeRows(x, `every other patch, ${offset}`, () => everyOther(patches, offset))
  const inEach = (rows: N, side: number, edge: number, learned: string): N => {
    const ordered = graph.takeRows(rows, `windows of ${edge}`, () => inWindows(side, edge))
    const joined = graph.joinRows(ordered, edge ** 2)
    return graph.splitRows(graph.add(joined, graph.joinRows(graph.weight(learned), edge ** 2)), edge ** 2)
  }
  const keys = inEach(x, patches, seen, `${name}.img_pos`)
  const asking = inEach(fewer, squares, asked, `${name}.query`)
  const queries = layerNorm(graph, asking, `${name}.post_norm`, epsilon)

  const runs = { q: asked ** 2, k: seen ** 2 }
  const thought = qFormerLayer(graph, queries, keys, name, { heads, runs, epsilon, activation: 'geluErf' })
  const back = graph.takeRows(thought, 'out of windows', () => outOfWindows(squares, asked))
  return linear(graph, back, `${name}.linear`)
}

/** One of each 2 by 2 patches. */
function everyOther(side: number, offset: number): Int32Array {
  const half = Math.floor(side / 2)
  const [down, right] = [(offset >> 1) & 1, offset & 1]
  return Int32Array.from(
    { length: half * half },
    (_, at) => (Math.floor(at / half) * 2 + down) * side + (at % half) * 2 + right,
  )
}
