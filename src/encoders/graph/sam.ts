import type { Metadata } from '../../gguf/index.ts'
import { type GraphBuilder, type Grid, layerNorm, linear, type Windows } from './builder.ts'
import { betweenCentres, bicubicBetween, resizedPositions } from './positions.ts'
import { activationOf } from './transformer.ts'

/** By how much each edge of the grid of patches is divided. */
export const samDivides = 4

/** Layers in which a patch attends to all others, which files do not record. */
const wideLayers: ReadonlySet<number> = new Set([2, 5, 8, 11])

/** Its own, which may differ from that of the encoder after it. */
const epsilon = 1e-6

/** Squares of patches within which attention stays. */
interface Squares {
  name: string
  /** Patches along an edge. */
  side(grid: Grid): number
  /** The most of them. */
  most: number
}

/**
 * The image encoder of Segment Anything, for squares: most layers attend within windows, which are filled up with zeros at
 * the right and at the bottom. What a patch attends to depends on how many rows and columns away it is, by learned vectors.
 * Convolutions make 16 patches one. After llama.cpp's tools/mtmd (`clip_graph_deepseekocr::build_sam`, models/deepseekocr.cpp).
 * @param most patches along the edge of the largest image
 */
export function sam(metadata: Metadata, most: number) {
  const vision = (key: string) => metadata.number(`clip.vision.${key}`)
  const [width, heads] = [vision('sam.embedding_length'), vision('sam.head_count')]
  const layers = vision('sam.block_count')
  const window = vision('window_size')
  const activate = activationOf(metadata)
  const head = width / heads
  const all: Squares = { name: 'the image', side: ({ rows }) => rows, most }
  const windows: Squares = { name: 'windows', side: () => window, most: window }

  /**
   * Attention whose scores have a part for the distance in rows and one for that in columns. Each is the product of the
   * query with the learned vector of the distance. Queries get all of these products as further numbers, and keys a mark in
   * the place of their own row and column, so that plain attention adds them.
   */
  const attend = <N>(graph: GraphBuilder<N>, [q, k, v]: readonly [N, N, N], of: Squares, part: string): N => {
    const queries = graph.splitRows(q, heads)
    const products = (axis: 'h' | 'w') => {
      const learned = graph.floats(`${part}.attn.pos_${axis}.weight`)
      return graph.groupedProducts(queries, {
        name: `${part} ${axis}`,
        vectors: of.most,
        sizes: (grid) => ({ groups: of.side(grid), rows: heads * (axis === 'h' ? of.side(grid) : 1) }),
        of: (grid) => distances(learned, head, of.side(grid), of.most),
      })
    }
    const wide = graph.concatColumns(graph.concatColumns(queries, products('h')), products('w'))
    const marks = graph.table(`marks in ${of.name}`, 2 * of.most, (grid) =>
      placesIn(of.side(grid), of.most, heads, Math.sqrt(head), squaresIn(of, grid)),
    )
    const marked = graph.joinRows(graph.concatColumns(graph.splitRows(k, heads), marks), heads)
    const [query, scale] = [graph.joinRows(wide, heads), 1 / Math.sqrt(head)]
    if (of === all) return graph.attention(query, marked, v, heads, scale)
    return graph.windowAttention(query, marked, v, heads, consecutive(window), scale)
  }

  const layer = <N>(graph: GraphBuilder<N>, x: N, index: number): N => {
    const part = (name: string) => `v.sam.blk.${index}.${name}`
    const split = (y: N) => [0, 1, 2].map((at) => graph.columns(y, at * width, width)) as [N, N, N]
    const normed = layerNorm(graph, x, part('pre_ln'), epsilon)
    const own = `v.sam.blk.${index}`
    let mixed: N
    if (wideLayers.has(index)) mixed = attend(graph, split(linear(graph, normed, part('attn.qkv'))), all, own)
    else {
      const padded = graph.concatRows(
        normed,
        graph.table('zeros', width, () => new Float32Array(width)),
      )
      const taken = graph.takeRows(linear(graph, padded, part('attn.qkv')), 'into windows', (grid) =>
        Int32Array.from(rowsOf(grid, window).flat()),
      )
      const within = attend(graph, split(taken), windows, own)
      mixed = graph.takeRows(within, 'out of windows', (grid) => placesOf(grid, window))
    }
    const seen = graph.add(x, linear(graph, mixed, part('attn.out')))
    const raised = linear(graph, layerNorm(graph, seen, part('post_ln'), epsilon), part('mlp.lin1'))
    return graph.add(seen, linear(graph, activate.plain(graph, raised), part('mlp.lin2')))
  }

  return {
    /** `[patches, 3 * patch * patch]` -> `[patches / 16, width of the last convolution]` */
    build<N>(graph: GraphBuilder<N>, patches: N, grid: Grid): N {
      const positions = resizedPositions(graph, width, bicubicBetween, 'v.sam.pos_embd.weight')
      let x = graph.add(linear(graph, patches, 'v.sam.patch_embd'), positions)
      for (let index = 0; index < layers; index++) x = layer(graph, x, index)
      x = layerNorm(graph, linear(graph, x, 'v.sam.neck.0'), 'v.sam.neck.1', epsilon)
      x = graph.convolution(x, graph.weight('v.sam.neck.2.weight'), grid, 1, 'centred', 1)
      x = layerNorm(graph, x, 'v.sam.neck.3', epsilon)
      x = graph.convolution(x, graph.weight('v.sam.net_2.weight'), grid, 2, 'centred', 1)
      const half = { rows: grid.rows / 2, columns: grid.columns / 2 }
      return graph.convolution(x, graph.weight('v.sam.net_3.weight'), half, 2, 'centred', 2)
    },
  }
}

const squaresIn = ({ side }: Squares, grid: Grid): number => Math.ceil(grid.rows / side(grid)) ** 2

/** Windows of consecutive rows. */
const consecutive = (edge: number): Windows => ({
  size: edge * edge,
  rows: (grid) => {
    const length = edge * edge
    return rowsOf(grid, edge).map((_, at) => Array.from({ length }, (_, row) => at * length + row))
  },
})

/** The patches of each window, row by row; the row after the last patch stands for those beyond the image. */
function rowsOf({ rows, columns }: Grid, edge: number): number[][] {
  const windows: number[][] = []
  for (let top = 0; top < rows; top += edge)
    for (let left = 0; left < columns; left += edge) {
      const window: number[] = []
      for (let row = top; row < top + edge; row++)
        for (let column = left; column < left + edge; column++)
          window.push(row < rows && column < columns ? row * columns + column : rows * columns)
      windows.push(window)
    }
  return windows
}

/** The place of each patch in the windows. */
function placesOf(grid: Grid, edge: number): Int32Array {
  const places = new Int32Array(grid.rows * grid.columns)
  rowsOf(grid, edge)
    .flat()
    .forEach((patch, place) => {
      if (patch < places.length) places[patch] = place
    })
  return places
}

/**
 * For each place along an edge, the learned vectors of its distances to all others: `[side, most, width]`, zeros beyond
 * `side`.
 * @param learned those of the distances of the largest edge, from the most negative to the most positive
 */
function distances(learned: Float32Array, width: number, side: number, most: number): Float32Array {
  const count = learned.length / width
  const taps = count === 2 * side - 1 ? undefined : betweenCentres()(count, 2 * side - 1)
  const out = new Float32Array(side * most * width)
  for (let from = 0; from < side; from++)
    for (let to = 0; to < side; to++) {
      const distance = from - to + side - 1
      const at = (from * most + to) * width
      for (const { index, weight } of taps?.[distance] ?? [{ index: distance, weight: 1 }])
        for (let i = 0; i < width; i++)
          out[at + i] = (out[at + i] as number) + (learned[index * width + i] as number) * weight
    }
  return out
}

/** For each head of each place of each square, `mark` at the place's row and at its column: `[.., 2 * most]` */
function placesIn(side: number, most: number, heads: number, mark: number, squares: number): Float32Array {
  const width = 2 * most
  const one = side * side * heads * width
  const out = new Float32Array(squares * one)
  for (let row = 0; row < side * side * heads; row++) {
    const place = Math.floor(row / heads)
    out[row * width + Math.floor(place / side)] = mark
    out[row * width + most + (place % side)] = mark
  }
  for (let square = 1; square < squares; square++) out.copyWithin(square * one, 0, one)
  return out
}
