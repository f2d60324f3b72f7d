import { expect, it, vi } from 'vitest'
import { separatePayloads } from '../../src/engine/pending.ts'
import { joinPieces, type Piece, sendInPieces } from '../../src/engine/pieces.ts'
import { pixels } from '../support/pixels.ts'

const bytesOf = (length: number) => Uint8Array.from({ length }, (_, at) => at % 251)
const payload = (id: number, length: number) => ({ id, hash: 'a', parts: [bytesOf(length)] })

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
  expect(Buffer.compare(whole[3]?.bytes ?? new Uint8Array(), bytesOf(300_000))).toBe(0)
  expect(Buffer.compare(whole[4]?.bytes ?? new Uint8Array(), bytesOf(600_000))).toBe(0)
})

it('forgets an attachment whose request ends on the way', async () => {
  const sent: Piece[] = []
  const bytes = bytesOf(600_000)
  await sendInPieces({ ...payload(1, 0), parts: [bytes] }, async (piece) => {
    await send(sent)(piece)
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  })
  expect(sent.map(({ total }) => total)).toEqual([600_000, 0])
  const join = joinPieces()
  expect(sent.map(join)).toEqual([undefined, undefined])
  expect(join({ ...(sent[0] as Piece), at: 256_000 })).toBeUndefined()
})

it('sends two frames that the encoder joins from where they lie, and the engine has one after the other', async () => {
  const [first, second] = [bytesOf(400_000), bytesOf(300_001)]
  const letGo = vi.fn()
  const { payloads } = separatePayloads([
    {
      ...{ kind: 'image', width: 1, height: 1, hash: 'a', detail: 'low', frames: 2 },
      pixels: pixels(first, letGo),
      nextPixels: pixels(second, letGo),
    },
  ])
  const [pair] = payloads.get('a') ?? []
  const { parts = null } = pair ?? {}
  if (parts === null) throw new Error('the pixels are decoded')
  const sent: Piece[] = []
  const from = new Set<unknown>()
  await sendInPieces({ id: 1, hash: 'a', parts }, async (piece) => {
    from.add(piece.bytes.buffer)
    await send(sent)(piece)
  })
  // Nothing was copied.
  expect(from.size === 2 && from.has(first.buffer) && from.has(second.buffer)).toBe(true)
  const whole = sent.map(joinPieces()).at(-1)
  expect(Buffer.compare(whole?.bytes ?? new Uint8Array(), Buffer.concat([first, second]))).toBe(0)
  pair?.letGo()
  expect(letGo).toHaveBeenCalledTimes(2)
})

it('sends no pair until both frames are decoded', async () => {
  const open = { rgb: null, decode: async () => new Uint8Array(), letGo: () => {} }
  const image = { kind: 'image', width: 1, height: 1, hash: 'a', detail: 'low', frames: 2 } as const
  const { prompt, payloads } = separatePayloads([{ ...image, pixels: pixels(bytesOf(3)), nextPixels: open }])
  expect(payloads.get('a')?.[0]?.parts).toBeNull()
  // The engine's process has what is known without them.
  expect(prompt).toEqual([image])
})
