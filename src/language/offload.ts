/** Share of a GPU's free memory that is kept for the buffers of a step, and its minimum in bytes. */
const spare = { share: 0.1, bytes: 512e6 }

/**
 * The number of layers that fit in a GPU's memory, including the output layer: `layers + 1` is the whole decoder. All
 * layers count as equally large.
 * @param bytes of all weights and the KV memory
 * @param free bytes of the GPU's memory
 */
export function layersThatFit(layers: number, bytes: number, free: number): number {
  const space = free - Math.max(free * spare.share, spare.bytes)
  return Math.max(0, Math.min(layers + 1, Math.floor((space / bytes) * (layers + 1))))
}
