import type { Grid } from '../encoders/index.ts'
import type { Position } from '../native/index.ts'

/** The cells of a span, which have rows and columns at one time. */
export interface GridSpan {
  /** Its first cell, and the cell after its last. */
  start: number
  end: number
  grid: Grid
  /** The image's number in the prompt, if its positions are those of XD-RoPE. */
  image?: number
  /** Of a frame whose time is in its position: how much later it is than the first one of its video. */
  later?: number | undefined
}

/**
 * The positions of a sequence's cells. For most models a position is the cell's number. For models with M-RoPE, such as
 * Qwen-VL, all cells of an image have one time and differ in row and column, and the next cell's time follows the longer
 * edge: llama.cpp's `MTMD_POS_TYPE_MROPE`. The frames of a video count rows and columns from where it begins, and the next
 * cell's time follows all of them: `get_rope_index` of Qwen2-VL in Hugging Face's transformers. With XD-RoPE the time goes on
 * through an image, between whose first and last cell rows and columns are counted from 0: `MTMD_POS_TYPE_HUNYUANVL`.
 */
export class Positions {
  readonly #spans: readonly GridSpan[]

  /** @param spans in the order of the prompt; none for models whose positions have one axis */
  constructor(spans: readonly GridSpan[]) {
    this.#spans = spans
  }

  /** The time of a cell, which never decreases from cell to cell. Cells after the prompt continue it. */
  time(cell: number): number {
    return this.#at(cell).time
  }

  /** The time from which on cells may follow the first `cells`, whatever they are. */
  after(cells: number): number {
    return cells === 0 ? 0 : this.time(cells - 1) + 1
  }

  place(cell: number): Position {
    const { time, base } = this.#at(cell)
    const span = this.#spans.find(({ start, end }) => cell >= start && cell < end)
    if (span === undefined) return { time, row: time, column: time, image: 0 }
    const at = cell - span.start
    const { columns } = span.grid
    if (span.image === undefined)
      return { time, row: base + Math.floor(at / columns), column: base + (at % columns), image: 0 }
    if (at === 0 || cell === span.end - 1) return { time, row: time, column: time, image: time }
    // XD-RoPE has columns before rows.
    return { time, row: (at - 1) % columns, column: Math.floor((at - 1) / columns), image: span.image }
  }

  /** The longest prefix of at most `cells` cells that ends where the time advances: KV memory is shared by time. */
  whole(cells: number): number {
    const cut = this.#spans.find(({ start, end, image }) => image === undefined && cells > start && cells < end)
    return cut === undefined ? cells : cut.start
  }

  /** The time of a cell, and the time from which the image or video that it belongs to counts rows and columns. */
  #at(cell: number): { time: number; base: number } {
    // Cells from `from` on have the times from `next` on.
    let [from, next, base] = [0, 0, 0]
    for (const { start, end, grid, image, later = 0 } of this.#spans) {
      if (start > cell) break
      if (image !== undefined) continue
      if (later === 0) base = next + start - from
      const time = base + later
      if (cell < end) return { time, base }
      next = Math.max(time + 1, base + grid.rows, base + grid.columns)
      from = end
    }
    const time = next + cell - from
    return { time, base: time }
  }
}
