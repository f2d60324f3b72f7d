import { expect, it } from 'vitest'
import { joinPieces, type Piece, sendInPieces } from '../../src/engine/pieces.ts'

const payload = (id: number, length: number) => ({
  type: 'payload' as const,
  id,
  hash: 'a',
  bytes: Uint8Array.from({ length }, (_, at) => at % 251),
})

/** @param sent receives the parts */
const send =
  (sent: Piece[]) =>
  async (piece: Piece): Promise<void> => {
    // The channel copies what it writes.
    sent.push({ ...piece, bytes: piece.bytes.slice() })
  }

it('sends the bytes of an attachment in small parts, and lets other work have its turn between two', async () => {
  const sent: Piece[] = []
  const turns: number[] = []
  const other = (): void => {
    turns.push(sent.length)
    if (sent.length < 4) setImmediate(other)
  }
  setImmediate(other)
  await sendInPieces(payload(1, 1_000_000), send(sent))
  expect(sent).toHaveLength(4)
  expect(Math.max(...sent.map(({ bytes }) => bytes.length))).toBeLessThan(300_000)
  expect(turns.slice(0, 4)).toEqual([1, 2, 3, 4])
})

it('puts the parts of several attachments together, in whatever order they alternate', async () => {
  const [one, two]: Piece[][] = [[], []]
  await sendInPieces(payload(1, 600_000), send(one ?? []))
  await sendInPieces(payload(2, 300_000), send(two ?? []))
  const join = joinPieces()
  const [first, second, third] = one ?? []
  const [fourth, fifth] = two ?? []
  const whole = [first, fourth, second, fifth, third].map((piece) => piece && join(piece))
  expect(whole.map((message) => message?.id)).toEqual([undefined, undefined, undefined, 2, 1])
  expect(Buffer.compare(whole[3]?.bytes ?? new Uint8Array(), payload(2, 300_000).bytes)).toBe(0)
  expect(Buffer.compare(whole[4]?.bytes ?? new Uint8Array(), payload(1, 600_000).bytes)).toBe(0)
})

it('forgets an attachment whose request ends on the way', async () => {
  const sent: Piece[] = []
  const message = payload(1, 600_000)
  await sendInPieces(message, async (piece) => {
    await send(sent)(piece)
    structuredClone(message.bytes.buffer, { transfer: [message.bytes.buffer] })
  })
  expect(sent.map(({ total }) => total)).toEqual([600_000, 0])
  const join = joinPieces()
  expect(sent.map(join)).toEqual([undefined, undefined])
  expect(join({ ...(sent[0] as Piece), at: 256_000 })).toBeUndefined()
})
