/** What every context is made from. */
export interface ContextSettings {
  /** Cells of KV memory, rounded up to a multiple of 256. */
  cells: number
  /** Of keys and values. llama.cpp does not tell it: layers differ in heads, share what others keep, or keep none. */
  bytesPerCell: number
  /** Number of sequence ids. */
  sequences: number
  threads: number
  kvType: keyof typeof kvTypes
  flashAttention: boolean
}

/** ggml's numbers of the KV memory's element types. */
const kvTypes = { f16: 1, q8_0: 8 } as const

/** llama.cpp allocates KV memory in units of this many cells. */
const cellsAtOnce = 256

/** llama.cpp rounds up by itself, but limits batches to the number that it was given. */
const cellsOf = ({ cells }: Pick<ContextSettings, 'cells'>): number => Math.ceil(cells / cellsAtOnce) * cellsAtOnce

/** The cells of a context, and the bytes of its KV memory. */
export function kvOf(settings: ContextSettings): { cells: number; kvBytes: number } {
  const cells = cellsOf(settings)
  return { cells, kvBytes: cells * settings.bytesPerCell }
}

/** `llama_context_params`, as far as all contexts have the same. @param rows of the largest batch */
export function contextParams(settings: ContextSettings, rows: number) {
  const type = kvTypes[settings.kvType]
  return {
    n_ctx: cellsOf(settings),
    n_batch: rows,
    n_ubatch: rows,
    n_seq_max: settings.sequences,
    n_threads: settings.threads,
    n_threads_batch: settings.threads,
    flash_attn_type: settings.flashAttention ? 1 : 0,
    type_k: type,
    type_v: type,
    no_perf: true,
    kv_unified: true,
  }
}
