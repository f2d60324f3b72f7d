import type { Decoder, UsedAdapter } from '../../../src/language/index.ts'
import type { Sequence } from '../../../src/tuning/sequence.ts'

/** The sum of the losses of a sequence's learned tokens, as llama.cpp computes them when a model answers. */
export async function servedLoss(
  decoder: Decoder,
  { tokens, positions, learned, spans }: Sequence,
  adapter: UsedAdapter | null = null,
): Promise<number> {
  const batch = decoder.newEmbeddingBatch()
  const axes = positions.length / tokens.length
  const none = new Float32Array(decoder.width)
  let row = 0
  for (const [cell, token] of tokens.entries()) {
    const [time = 0, y = time, x = time] = Array.from(
      { length: axes },
      (_, axis) => positions[axis * tokens.length + cell] ?? 0,
    )
    const picture = spans[0]?.rows.subarray(row * decoder.width, (row + 1) * decoder.width)
    if (token < 0) row++
    const embedding = token < 0 ? picture : decoder.tokenEmbedding?.(token)
    batch.addEmbedding(embedding ?? none, { time, row: y, column: x, image: 0 }, 0, true)
  }
  if (!(await decoder.decode(batch, false, adapter))) throw new Error('there is no space')
  let loss = 0
  for (const [cell, token] of tokens.entries())
    if (cell > 0 && learned[cell] === 1) {
      const logits = Float64Array.from(decoder.logits(cell - 1))
      const most = Math.max(...logits)
      loss += Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0)) + most - (logits[token] ?? 0)
    }
  decoder.forget(0)
  return loss
}
