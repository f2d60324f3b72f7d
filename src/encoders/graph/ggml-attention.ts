import { type Context, type Ggml, type Tensor, TensorType } from '../../native/index.ts'
import { bandBlocks, bandMask } from './bands.ts'
import { blockTables, type GraphBuilder, type Grid, type Mask, windowPlaces } from './builder.ts'
import type { Weights } from './weights.ts'

export interface Value {
  tensor: Tensor
  tokens: number
  width: number
  /** Of a weight. */
  name?: string
}

/** `GGML_PREC_F32` */
export const precise = 10

/** An input that is the same for every part of a size. */
export interface Constant {
  tensor: Tensor
  data: Int32Array | Float32Array
}

/** What attention is emitted into. */
interface Place {
  readonly ggml: Ggml
  readonly weights: Weights
  readonly context: Context
  readonly grid: Grid
  /** An input that the graph has once, by its name. */
  constant(name: string, of: () => Constant['data']): Constant
}

type Attention = 'attention' | 'windowAttention' | 'attentionInRuns' | 'bandAttention' | 'blockAttention'

/** The operations in which rows attend to each other. */
export function attentionIn({ ggml, weights, context, grid, constant }: Place): Pick<GraphBuilder<Value>, Attention> {
  /**
   * `[head, heads, tokens]` of heads `[head, tokens, heads]`, or null if the back end has no kernel for it. All scores at
   * once would take 28 GB in each layer for the 21,000 patches of an image of 2048 x 2048.
   */
  function flashAttention(query: Tensor, key: Tensor, value: Tensor, scale: number): Tensor | null {
    const [backend] = weights.backends
    // With values in 16 bits a CPU sums in 16 bits too, unless heads fill its registers.
    const type = backend === weights.backends.at(-1) ? TensorType.F32 : TensorType.F16
    const [keys, values] = [ggml.cast(context, key, type), ggml.cast(context, value, type)]
    const node = ggml.flashAttention(context, query, keys, values, null, scale, 0, 0)
    ggml.setAccumulation(node, precise)
    return backend !== undefined && ggml.supports(backend, node) ? node : null
  }

  /** `[head, heads, tokens]` -> `[head, tokens, heads]`, and the inverse. */
  const headsFirst = (x: Tensor): Tensor => ggml.permute(context, x, 0, 2, 1, 3)

  /** Attention with all scores in memory. @param value `[head, heads, tokens]` @returns the same of the result */
  function mix(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | null, scale: number, sinks?: Tensor): Tensor {
    const turned = ggml.cont(context, ggml.permute(context, value, 1, 2, 0, 3))
    const scores = ggml.softMaxExt(context, ggml.mulMat(context, key, query), mask, scale, 0)
    if (sinks !== undefined) ggml.addSinks(scores, sinks)
    return headsFirst(ggml.mulMat(context, turned, scores))
  }

  function maskOf({ of, length }: Mask): Tensor {
    const { tensor, data } = constant('mask', () => of(grid))
    return ggml.reshape2d(context, tensor, length(grid), data.length / length(grid))
  }

  return {
    attention(q, k, v, heads, scale, masked) {
      const head = q.width / heads
      const factor = scale ?? 1 / Math.sqrt(head)
      const apart = heads * (v.width / (k.width / head))
      const split = (x: Value, of: number) => ggml.reshape3d(context, x.tensor, of, x.width / of, x.tokens)
      const [query, key] = [headsFirst(split(q, head)), headsFirst(split(k, head))]
      const value = split(v, apart / heads)
      const flash = masked === undefined ? flashAttention(query, key, headsFirst(value), factor) : null
      if (flash !== null) return { ...q, tensor: ggml.reshape2d(context, flash, apart, q.tokens), width: apart }
      const mixed = mix(query, key, value, masked === undefined ? null : maskOf(masked), factor)
      return { ...q, tensor: ggml.cont2d(context, mixed, apart, q.tokens), width: apart }
    },

    windowAttention(q, k, v, heads, { size, rows }, scale) {
      const head = q.width / heads
      const apart = heads * (v.width / (k.width / head))
      const places = constant('window rows', () => windowPlaces(rows(grid), size).taken)
      const windows = places.data.length / size
      const mask = constant('window mask', () => windowMask(rows(grid), size))
      const split = (x: Value, of: number) =>
        ggml.reshape4d(context, ggml.getRows(context, x.tensor, places.tensor), of, x.width / of, size, windows)
      const seen = ggml.reshape4d(context, mask.tensor, size, size, 1, windows)
      const [query, key, value] = [headsFirst(split(q, head)), headsFirst(split(k, head)), split(v, apart / heads)]
      const mixed = mix(query, key, value, seen, scale ?? 1 / Math.sqrt(head))
      const inWindows = ggml.cont2d(context, mixed, apart, size * windows)
      const back = constant('rows of windows', () => windowPlaces(rows(grid), size).back)
      return { ...q, tensor: ggml.getRows(context, inWindows, back.tensor), width: apart }
    },

    attentionInRuns(q, k, v, heads, runs) {
      const count = q.tokens / runs.q
      const split = (x: Value, rows: number) => ggml.reshape4d(context, x.tensor, x.width / heads, heads, rows, count)
      const [query, key] = [headsFirst(split(q, runs.q)), headsFirst(split(k, runs.k))]
      const mixed = mix(query, key, split(v, runs.k), null, 1 / Math.sqrt(q.width / heads))
      return { tensor: ggml.cont2d(context, mixed, v.width, q.tokens), tokens: q.tokens, width: v.width }
    },

    bandAttention(q, k, v, heads, { reach, order: { name, rows }, sinks }) {
      const blocksOf = () => bandBlocks(rows(grid), reach)
      const taken = constant(`rows of ${name}`, () => blocksOf().rows)
      const seen = constant(`seen of ${name}`, () => blocksOf().seen.map((row) => Math.max(0, row)))
      const back = constant(`places of ${name}`, () => blocksOf().back)
      const blocks = taken.data.length / reach
      const near = ggml.reshape4d(
        context,
        constant('band mask', () => bandMask(blocksOf().seen, reach)).tensor,
        ...[3 * reach, reach, 1, blocks],
      )
      const query = ggml.getRows(context, q.tensor, taken.tensor)
      const key = ggml.getRows(context, k.tensor, seen.tensor)
      const value = ggml.getRows(context, v.tensor, seen.tensor)
      const mixed = mix(
        headsFirst(ggml.reshape4d(context, query, k.width, heads, reach, blocks)),
        ggml.reshape4d(context, key, k.width, 3 * reach, 1, blocks),
        ggml.reshape4d(context, value, v.width, 1, 3 * reach, blocks),
        near,
        1 / Math.sqrt(k.width),
        constant(sinks.name, () => sinks.of).tensor,
      )
      const width = heads * v.width
      const inBlocks = ggml.cont2d(context, mixed, width, reach * blocks)
      return { tensor: ggml.getRows(context, inBlocks, back.tensor), tokens: q.tokens, width }
    },

    blockAttention({ q, k, v, asked, distances }, heads, blocks, scale, cap) {
      const head = q.width / heads
      const tables = blockTables(blocks)
      const { blocks: count, each, context: seen } = tables.shapeOf(grid)
      const split = (x: Value, name: string, rows: () => Int32Array, length: number) =>
        ggml.reshape4d(
          context,
          ggml.getRows(context, x.tensor, constant(name, rows).tensor),
          head,
          heads,
          length,
          count,
        )
      const asking = (x: Value) => headsFirst(split(x, 'rows of blocks', () => tables.asking(grid), each))
      const rows = (x: Value) => split(x, 'rows of contexts', () => tables.asked(grid), seen)
      const perDistance = ggml.reshape3d(context, distances.tensor, head, distances.width / head, distances.tokens)
      const far = ggml.mulMat(context, ggml.cont(context, headsFirst(perDistance)), asking(asked))
      const { tensor: places } = constant('distances', () => {
        const of = tables.distances(grid)
        return Int32Array.from({ length: of.length * heads * count }, (_, at) => {
          const place = at % of.length
          return Math.floor(place / seen) * distances.tokens + (of[place] ?? 0)
        })
      })
      const apart = ggml.reshape3d(context, far, 1, distances.tokens * each, heads * count)
      const shifted = ggml.getRows(context, apart, ggml.reshape2d(context, places, seen * each, heads * count))
      const near = ggml.mulMat(context, headsFirst(rows(k)), asking(q))
      const sum = ggml.add(context, near, ggml.reshape4d(context, shifted, seen, each, heads, count))
      const scaled = ggml.scale(context, sum, cap === undefined ? scale : scale / cap)
      const scores = cap === undefined ? scaled : ggml.scale(context, ggml.tanh(context, scaled), cap)
      const { tensor: flat } = constant('mask of blocks', () => tables.mask(grid))
      const shares = ggml.softMaxExt(context, scores, ggml.reshape4d(context, flat, seen, each, 1, count), 1, 0)
      const values = ggml.cont(context, ggml.permute(context, rows(v), 1, 2, 0, 3))
      const mixed = ggml.cont2d(context, headsFirst(ggml.mulMat(context, values, shares)), q.width, each * count)
      const back = constant('rows in blocks', () => tables.back(grid))
      return { ...q, tensor: ggml.getRows(context, mixed, back.tensor) }
    },
  }
}

/** Added to the scores to exclude the padding of windows: `[windows, size, size]` */
function windowMask(windows: readonly (readonly number[])[], size: number): Float32Array {
  const mask = new Float32Array(windows.length * size * size)
  for (let at = 0; at < mask.length; at++) {
    const window = windows[Math.floor(at / (size * size))]
    if (at % size >= (window?.length ?? 0)) mask[at] = Number.NEGATIVE_INFINITY
  }
  return mask
}
