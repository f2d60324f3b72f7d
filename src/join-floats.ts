/** One after the other. */
export function joinFloats(pieces: readonly Float32Array[]): Float32Array {
  const [only] = pieces
  if (only !== undefined && pieces.length === 1) return only
  const out = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}
