import fc from 'fast-check'
import { expect, it } from 'vitest'
import { answerToken } from '../../src/engine/logprobs.ts'
import { packChances, unpacked } from '../../src/engine/packed-chances.ts'

const bytesOf = (id: number): Uint8Array => Buffer.from(`<${id}>`)
const vocabulary = 5

it('log probabilities of a prompt are the same behind a border between processes', async () => {
  const logit = fc.float({ min: -20, max: 20, noNaN: true })
  const row = fc.record({
    gap: fc.integer({ min: 0, max: 3 }),
    token: fc.nat(vocabulary - 1),
    logits: fc.array(logit, { minLength: vocabulary, maxLength: vocabulary }),
  })
  const rows = fc.array(row, { minLength: 1, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(rows, fc.nat(20), fc.nat(7), async (rows, top, start) => {
      let cell = start
      const cells = rows.map(({ gap, token, logits }) => {
        cell += 1 + gap
        return { cell, token, logits: Float32Array.from(logits) }
      })
      const event = await unpacked(structuredClone(packChances(cells, top, bytesOf)))
      if (event.type !== 'prompt_logprobs') throw new Error(`an event ${event.type}`)
      const told = event.tokens.flatMap((one, at) => (one === null ? [] : { cell: event.from + at, one }))
      expect(told.map(({ cell }) => cell)).toEqual(cells.map(({ cell }) => cell))
      const plain = ({ id, logprob, bytes }: { id: number; logprob: number; bytes: Uint8Array }) => [
        ...[id, logprob],
        Buffer.from(bytes).toString(),
      ]
      expect(told.map(({ one }) => [plain(one), one.top.map(plain)])).toEqual(
        cells.map(({ token, logits }) => {
          const expected = answerToken({ bytes: bytesOf }, logits, token, top)
          return [plain(expected), expected.top.map(plain)]
        }),
      )
    }),
  )
})
