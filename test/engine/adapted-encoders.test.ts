import { describe, expect, it } from 'vitest'
import { type Deferred, deferred } from '../../src/deferred.ts'
import { withVisionAdapters } from '../../src/engine/adapted-encoders.ts'
import type { OpenedEncoder } from '../../src/engine/encoder.ts'
import type { AttachmentSpan } from '../../src/engine/prompt-cells.ts'
import { badModel } from '../../src/errors.ts'

const span = (adapter?: string) =>
  ({
    ...{ kind: 'image', key: `image ${adapter}`, attachment: { hash: 'image' }, plan: { name: '' }, start: 0, end: 1 },
    ...(adapter !== undefined && { adapter: { key: adapter, file: `${adapter}.gguf` } }),
  }) as AttachmentSpan

/** An encoder that says what happens to it, and is open when its file's promise resolves. */
function setUp() {
  const told: string[] = []
  const openings = new Map<string, Deferred<void>>()
  const encoderOf = (name: string): OpenedEncoder => ({
    ...{ runtimes: {}, uncalibrated: [], busy: false, cachedBytes: 0 },
    ...{ cached: () => undefined, opening: () => null, has: () => false, letGo() {}, adopt() {}, giveWay() {} },
    async encode() {
      told.push(`${name} encodes`)
      return { embeddings: new Float32Array(1), ms: 1, preparingMs: 0 }
    },
    close: () => void told.push(`${name} closes`),
  })
  const openWith = async (file: string) => {
    told.push(`${file} opens`)
    const opening = deferred<void>()
    openings.set(file, opening)
    await opening.promise
    return encoderOf(file)
  }
  const counts: number[] = []
  const encoders = withVisionAdapters(encoderOf('own'), 2, openWith, (open) => counts.push(open))
  const open = async (adapter: string) => {
    const opening = encoders.opening(span(adapter))
    openings.get(`${adapter}.gguf`)?.resolve()
    await opening
    expect(encoders.opening(span(adapter))).toBeNull()
    await encoders.encode(span(adapter), null)
  }
  return { told, counts, openings, encoders, open }
}

describe('encoders with adapters', () => {
  it('are opened when a span needs one, once, and others are encoded meanwhile', async () => {
    const { told, openings, encoders } = setUp()
    expect(encoders.opening(span())).toBeNull()
    const opening = encoders.opening(span('a'))
    expect(opening).not.toBeNull()
    expect(encoders.opening(span('a'))).toBe(opening)
    await encoders.encode(span(), null)
    openings.get('a.gguf')?.resolve()
    await opening
    await encoders.encode(span('a'), null)
    expect(told).toEqual(['a.gguf opens', 'own encodes', 'a.gguf encodes'])
  })

  it('close for another one, the one that was used least recently first', async () => {
    const { told, counts, encoders, open } = setUp()
    await open('a')
    await open('b')
    await encoders.encode(span('a'), null)
    await open('c')
    expect(counts).toEqual([1, 2, 1, 2])
    expect(told.filter((line) => line.endsWith('closes'))).toEqual(['b.gguf closes'])
  })

  it('are not closed before they have encoded, however many are wanted', async () => {
    const { told, openings, encoders } = setUp()
    const [a, b] = [encoders.opening(span('a')), encoders.opening(span('b'))]
    for (const file of ['a.gguf', 'b.gguf']) openings.get(file)?.resolve()
    await Promise.all([a, b])
    const waiting = encoders.opening(span('c'))
    // All that wait look again together.
    expect(encoders.opening(span('d'))).toBe(waiting)
    await encoders.encode(span('a'), null)
    await waiting
    encoders.opening(span('c'))
    expect(told.slice(2)).toEqual(['a.gguf encodes', 'a.gguf closes', 'c.gguf opens'])
  })

  it('that cannot be opened say why, and are tried again', async () => {
    const { told, openings, encoders } = setUp()
    const opening = encoders.opening(span('a'))
    openings.get('a.gguf')?.reject(badModel('It is damaged.'))
    await opening
    expect(encoders.opening(span('a'))).toBeNull()
    await expect(encoders.encode(span('a'), null)).rejects.toMatchObject({
      ...{ kind: 'precondition_failed', code: 'adapter_unusable' },
      message: 'The adapter cannot be used for images. It is damaged.',
    })
    encoders.opening(span('a'))
    expect(told).toEqual(['a.gguf opens', 'a.gguf opens'])
  })

  it('close when the model’s own gets other forms, which they share', async () => {
    const { told, encoders, open } = setUp()
    await open('a')
    encoders.adopt({ forms: {}, error: 0, aim: 0, ggml: 0, ratio: 1, bytes: 0, packs: false }, 'vision')
    expect(told).toContain('a.gguf closes')
  })
})
