/** Cells that are worth having for the prefixes of many requests; more help few. */
const mostCells = 16384

/**
 * Cells of KV memory where nobody says: four full contexts, but no more than 16384, or what there is room for.
 * @param trained tokens of the model's own context
 * @param room bytes
 */
export function usualCells(trained: number, bytesPerCell: number, room: number): number {
  const wanted = Math.min(Math.max(4 * Math.min(trained, 4096), Math.min(trained, mostCells)), mostCells)
  return Math.max(256, Math.floor(Math.min(wanted, room / bytesPerCell) / 256) * 256)
}

/** Bytes of pictures' embeddings, and as many of prompts' beginnings, that are kept where nobody says. @param memory that there is */
export const usualCacheBytes = (memory: number): number => Math.min(5e8, Math.floor(memory / 20))
