import { describe, expect, it, vi } from 'vitest'
import { previewer } from '../../src/deployments/embedded/preview.ts'
import { plainSettings } from '../../src/deployments/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import type { Asker, Media } from '../../src/media/index.ts'

/** Previews of nothing, which say who has begun. */
function previews() {
  const begun: string[] = []
  const load = async (_: unknown, { client }: Asker) => {
    begun.push(client)
    return []
  }
  const engine = { model: { inputs: {} }, count: async () => ({ imageTokens: [] }) } as unknown as Engine
  const preview = previewer(engine, { load } as unknown as Media)
  const ask = (client: string) => {
    const over = new AbortController()
    const seen = preview({ attachments: [], client, settings: plainSettings }, over.signal)
    seen.catch(() => {})
    return { seen, over }
  }
  return { begun, ask }
}

describe('the previews of a model', () => {
  it('hold pixels and files of a few at once: the next begins when one has been read', async () => {
    const { begun, ask } = previews()
    const first = Array.from({ length: 6 }, () => ask('a'))
    await Promise.all(first.slice(0, 4).map(({ seen }) => seen))
    expect(begun).toEqual(['a', 'a', 'a', 'a'])
    // Who does not read leaves room for others.
    const others = Array.from({ length: 6 }, () => ask('b'))
    await Promise.all(others.slice(0, 4).map(({ seen }) => seen))
    expect(begun.filter((client) => client === 'b')).toHaveLength(4)
    for (const { over } of first.slice(0, 2)) over.abort()
    await Promise.all(first.slice(4).map(({ seen }) => seen))
    expect(begun).toHaveLength(10)
  })

  it('that wait are given up when their client leaves', async () => {
    const { begun, ask } = previews()
    const open = Array.from({ length: 4 }, () => ask('a'))
    await Promise.all(open.map(({ seen }) => seen))
    const waiting = ask('a')
    waiting.over.abort()
    await expect(waiting.seen).rejects.toMatchObject({ kind: 'cancelled' })
    open[0]?.over.abort()
    await ask('a').seen
    await vi.waitFor(() => expect(begun).toHaveLength(5))
  })
})
