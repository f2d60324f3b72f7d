import type { GraphBuilder, Grid, Rope2d } from './builder.ts'

/** Rotates the first half of a head by the patch's row and the second by its column, with interleaved frequencies. */
export const ropeByRow: Rope2d = {
  interleaved: true,
  positions: ({ rows, columns }) => ({
    first: Int32Array.from({ length: rows * columns }, (_, patch) => Math.floor(patch / columns)),
    second: Int32Array.from({ length: rows * columns }, (_, patch) => patch % columns),
  }),
}

/** Rotates the first half of a head by the patch's column and the second by its row, with the same frequencies. */
export const ropeByColumn: Rope2d = {
  interleaved: false,
  positions(grid) {
    const { first: row, second: column } = ropeByRow.positions(grid)
    return { first: column, second: row }
  },
}

/** Rotates pairs of halves by the patch's row and column: ggml's `GGML_ROPE_TYPE_VISION`. */
export const ropeByHalves: Rope2d = { interleaved: false, pairs: 'halves', positions: ropeByRow.positions }

/** The rows of the patches, without the row of the class token after them. */
export const withoutClass = <N>(graph: GraphBuilder<N>, x: N): N =>
  graph.takeRows(x, 'all but the class', ({ rows, columns }) =>
    Int32Array.from({ length: rows * columns }, (_, row) => row),
  )

/** The positions that were learned for a square of patches, resized to the grid of the image. */
export function resizedPositions<N>(
  graph: GraphBuilder<N>,
  width: number,
  filter: Filter = triangles,
  weight = 'v.position_embd.weight',
): N {
  const learned = graph.floats(weight)
  return graph.table(`grid of ${weight}`, width, (grid) => interpolated(learned, width, grid, filter))
}

/** For each of `outputs` places, the inputs and their weights. */
export type Filter = (inputs: number, outputs: number) => { index: number; weight: number }[][]

/** Bilinear, with corners mapped to corners: ggml's `GGML_SCALE_MODE_BILINEAR | GGML_SCALE_FLAG_ALIGN_CORNERS`. */
export const betweenCorners: Filter = (inputs, outputs) => {
  const step = inputs > 1 && outputs > 1 ? (inputs - 1) / (outputs - 1) : inputs / outputs
  return Array.from({ length: outputs }, (_, output) => {
    const index = Math.min(Math.floor(output * step), inputs - 1)
    const weight = Math.min(output * step - index, 1)
    return [
      { index, weight: 1 - weight },
      { index: Math.min(index + 1, inputs - 1), weight },
    ]
  })
}

/**
 * Bilinear, with centres mapped to centres and edges repeated: ggml's `GGML_SCALE_MODE_BILINEAR`.
 * @param more added to the number of places, which makes the steps a little shorter
 */
export const betweenCentres =
  (more = 0): Filter =>
  (inputs, outputs) => {
    const step = inputs / (outputs + more)
    const inside = (index: number) => Math.max(0, Math.min(index, inputs - 1))
    return Array.from({ length: outputs }, (_, output) => {
      const at = (output + 0.5) * step - 0.5
      const index = inside(Math.floor(at))
      const weight = Math.max(0, Math.min(at - index, 1))
      return [
        { index, weight: 1 - weight },
        { index: inside(Math.floor(at) + 1), weight },
      ]
    })
  }

/** Bicubic, a = -0.75, with edges repeated: ggml's `GGML_SCALE_MODE_BICUBIC`. */
export const bicubicBetween: Filter = (inputs, outputs) => {
  const a = -0.75
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return Array.from({ length: outputs }, (_, output) => {
    const at = (output + 0.5) / (outputs / inputs) - 0.5
    const first = Math.floor(at)
    const past = at - first
    return [far(past + 1), near(past), near(1 - past), far(2 - past)].map((weight, tap) => ({
      index: Math.max(0, Math.min(first + tap - 1, inputs - 1)),
      weight,
    }))
  })
}

/**
 * @param learned `[side * side, width]`
 * @returns `[rows * columns, width]`
 */
function interpolated(learned: Float32Array, width: number, { rows, columns }: Grid, filter: Filter): Float32Array {
  const side = Math.sqrt(learned.length / width)
  const wide = new Float32Array(side * columns * width)
  const across = filter(side, columns)
  for (let y = 0; y < side; y++)
    for (let x = 0; x < columns; x++)
      for (const { index, weight } of across[x] ?? [])
        addRow(wide, y * columns + x, learned, y * side + index, weight, width)
  const out = new Float32Array(rows * columns * width)
  const down = filter(side, rows)
  for (let y = 0; y < rows; y++)
    for (const { index, weight } of down[y] ?? []) addRow(out, y, wide, index, weight, columns * width)
  return out
}

/** Bilinear, with a wider filter if the grid shrinks: ggml's `GGML_SCALE_MODE_BILINEAR | GGML_SCALE_FLAG_ANTIALIAS`. */
export const triangles: Filter = (inputs, outputs) => {
  const scale = outputs / inputs
  const support = Math.max(1, 1 / scale)
  return Array.from({ length: outputs }, (_, output) => {
    const center = (output + 0.5) / scale
    const first = Math.max(0, Math.trunc(center - support + 0.5))
    const end = Math.min(inputs, Math.trunc(center + support + 0.5))
    const parts = Array.from({ length: end - first }, (_, at) => ({
      index: first + at,
      weight: Math.max(0, 1 - Math.abs((first + at - center + 0.5) / support)),
    }))
    const sum = parts.reduce((total, { weight }) => total + weight, 0)
    return parts.map(({ index, weight }) => ({ index, weight: weight / sum }))
  })
}

function addRow(to: Float32Array, toRow: number, from: Float32Array, row: number, weight: number, width: number): void {
  const [target, source] = [toRow * width, row * width]
  for (let i = 0; i < width; i++) to[target + i] = (to[target + i] ?? 0) + (from[source + i] ?? 0) * weight
}
