import type { Grid } from '../encoders/index.ts'
import type { Position } from '../native/index.ts'

/** A picture's cells, which stand in rows and columns at one time. */
export interface GridSpan {
  /** Its first cell, and the cell behind its last. */
  start: number
  end: number
  grid: Grid
}

/**
 * Where the cells of a sequence stand. For most models that is the cell's number. For those with positions of several
 * axes (M-RoPE, as Qwen-VL has it) all cells of a picture stand at one time, side by side, and what follows goes on
 * behind its longer edge: llama.cpp's `MTMD_POS_TYPE_MROPE`.
 */
export class Positions {
  readonly #spans: readonly GridSpan[]

  /** @param spans in their order; none for models whose positions have one axis */
  constructor(spans: readonly GridSpan[]) {
    this.#spans = spans
  }

  /** When a cell comes: a number that never falls from cell to cell. Cells behind the prompt count on. */
  time(cell: number): number {
    let time = cell
    for (const { start, end, grid } of this.#spans) {
      if (start >= cell) break
      time -= cell < end ? cell - start : end - start - Math.max(grid.rows, grid.columns)
    }
    return time
  }

  place(cell: number): Position {
    const time = this.time(cell)
    const span = this.#spans.find(({ start, end }) => cell >= start && cell < end)
    if (span === undefined) return { time, row: time, column: time }
    const at = cell - span.start
    return { time, row: time + Math.floor(at / span.grid.columns), column: time + (at % span.grid.columns) }
  }

  /** The longest prefix, of so many cells at most, that ends where the time moves on: KV memory is shared by time. */
  whole(cells: number): number {
    const cut = this.#spans.find(({ start, end }) => cells > start && cells < end)
    return cut === undefined ? cells : cut.start
  }
}
