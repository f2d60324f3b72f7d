import type { Band, Grid } from './builder.ts'

/**
 * A band in blocks: each has `reach` rows, which attend to those of the block before it, their own, and the one after it.
 * @param rows in the order of the band
 * @returns `rows`: of each block, any row after the last; `seen`: of each block and its neighbours, -1 where there is no
 * row; `back`: the place of each row in `rows`
 */
export function bandBlocks(rows: Int32Array, reach: number) {
  const blocks = Math.ceil(rows.length / reach)
  const taken = Int32Array.from({ length: blocks * reach }, (_, at) => rows[at] ?? 0)
  const seen = Int32Array.from({ length: blocks * 3 * reach }, (_, at) => {
    const block = Math.floor(at / (3 * reach))
    return rows[(block - 1) * reach + (at % (3 * reach))] ?? -1
  })
  const back = new Int32Array(rows.length)
  rows.forEach((row, at) => {
    back[row] = at
  })
  return { rows: taken, seen, back }
}

/** @param row of a block. @param key its place among those of the block and its neighbours */
const isNear = (row: number, key: number, reach: number): boolean => Math.abs(key - reach - row) <= reach

/** The tables of a band. As those of windows they must not capture the weights. */
export function bandTables(reach: number, order: Band['order']) {
  const { name, rows } = order
  const blocksOf = (grid: Grid) => bandBlocks(rows(grid), reach)
  /** The keys of each block, of which the last is the sink. */
  const keysOf = (key: (row: number) => number, sink: number) => (grid: Grid) => {
    const { seen } = blocksOf(grid)
    const near = 3 * reach
    const keys = new Int32Array((seen.length / near) * (near + 1)).fill(sink)
    for (const [at, row] of seen.entries()) keys[at + Math.floor(at / near)] = key(row)
    return keys
  }
  return {
    name: `of a band ${name}`,
    tables: {
      rows: (grid: Grid) => blocksOf(grid).rows,
      /** -1 is the last row. */
      seen: keysOf((row) => row, -1),
      there: keysOf((row) => (row === -1 ? 0 : 1), 1),
      back: (grid: Grid) => blocksOf(grid).back,
    },
  }
}

/** Added to the scores of a block's rows: `[reach, keys]`. The last key is the sink. */
export function nearness(reach: number): Float32Array {
  const keys = 3 * reach + 1
  return Float32Array.from({ length: reach * keys }, (_, at) => {
    const [row, key] = [Math.floor(at / keys), at % keys]
    return key === keys - 1 || isNear(row, key, reach) ? 0 : Number.NEGATIVE_INFINITY
  })
}

/** Added to the scores of each block: `[blocks, reach, 3 * reach]`. @param seen the rows of each block, -1 where there is none */
export function bandMask(seen: Int32Array, reach: number): Float32Array {
  const keys = 3 * reach
  return Float32Array.from({ length: seen.length * reach }, (_, at) => {
    const [row, key] = [Math.floor(at / keys) % reach, at % keys]
    const block = Math.floor(at / (keys * reach))
    return seen[block * keys + key] !== -1 && isNear(row, key, reach) ? 0 : Number.NEGATIVE_INFINITY
  })
}
