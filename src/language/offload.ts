/** Share of a GPU's free memory that is left for what a step computes, and at least so many bytes. */
const spare = { share: 0.1, bytes: 512e6 }

/**
 * How many layers of a decoder a GPU has room for, the output's among them: `layers + 1` is all of it. Layers are taken
 * to be of one size.
 * @param bytes of all weights and of the KV memory
 * @param free bytes of the GPU's memory
 */
export function layersThatFit(layers: number, bytes: number, free: number): number {
  const room = free - Math.max(free * spare.share, spare.bytes)
  return Math.max(0, Math.min(layers + 1, Math.floor((room / bytes) * (layers + 1))))
}
