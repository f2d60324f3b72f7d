/** A matrix of a GGUF file that a module of PEFT stands for, or for a part of. */
export interface Target {
  /** Its tensor, without `.weight`. */
  readonly matrix: string
  /** The rows of the module's matrix that are this one's, in its order. Omitted: all. @param count rows of the module's */
  readonly rows?: (count: number) => Rows
  /** The columns, as `rows`. */
  readonly columns?: (count: number) => Int32Array
}

/** Rows from one on, or rows one by one. */
export type Rows = { readonly from: number; readonly count: number } | Int32Array

export const countOf = (rows: Rows): number => (rows instanceof Int32Array ? rows.length : rows.count)

/** Parts that a module may be divided into. */
export const mostParts = 3

/** One of equal parts that follow each other. */
export const partOf =
  (index: number, parts: 2 | typeof mostParts) =>
  (count: number): Rows => ({ from: (index * count) / parts, count: count / parts })

/**
 * The rows of queries and keys, whose halves turn together in PyTorch, and neighbours in llama.cpp's llama:
 * `LlamaModel.permute` of its conversion/llama.py.
 */
export const inPairs =
  (heads: number) =>
  (count: number): Int32Array => {
    const head = count / heads
    return Int32Array.from({ length: count }, (_, row) => {
      const within = row % head
      return row - within + (within % 2) * (head / 2) + Math.floor(within / 2)
    })
  }
