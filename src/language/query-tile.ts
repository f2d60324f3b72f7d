/** Rows of a batch whose attention ggml computes together on a CPU (`GGML_FA_TILE_Q` in ggml-cpu/common.h). */
const tileRows = 64

/**
 * The time of an operation of attention, row by row and in a tile, in those of one with the weights. Of a 135M model in Q8_0
 * with AVX-512, one thread: 136 GFLOP/s with the weights, 21 row by row, 100 in a tile.
 */
const rowByRow = 6.5
const inTile = 1.4

/** What one row of prefill takes, in multiplications. */
export interface RowWork {
  readonly weights: number
  /** For each cell that the row attends to. */
  readonly perCell: number
}

/**
 * Attention over many cells takes longer for 40 rows than for 64, since ggml computes fewer than a tile's rows one by one.
 * @returns for a batch of `rows` at the end of `cells`, the number of rows that takes least time, which is `rows` at least
 */
export function fastestRows({ weights, perCell }: RowWork, rows: number, cells: number): number {
  if (rows >= tileRows || cells < tileRows) return rows
  const few = rows * (weights + rowByRow * perCell * cells)
  const whole = tileRows * (weights + inTile * perCell * cells)
  return whole < few ? tileRows : rows
}
