import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeDataUrl } from '../../src/media/decoder/data-url.ts'
import { SeenFiles } from '../../src/media/seen-files.ts'
import { inputs } from '../support/long.ts'

const files = new SeenFiles()
interface Options {
  isolation?: string
  pages?: string | number
  longestEdge?: number
}
const nameOf = (payload: string | Uint8Array, { isolation = '', pages, longestEdge = 512 }: Options = {}) =>
  files.nameOf({ payload, wanted: { kind: 'image', pages: pages ?? null, longestEdge } }, isolation)

const text = fc.base64String({ minLength: 4, maxLength: 200 })
const options = fc.record({
  isolation: fc.constantFrom('', 'a', '","', '["a"]'),
  pages: fc.constantFrom('1', 1, '1-2', 'all', 2),
  longestEdge: fc.constantFrom(1, 512, 1024),
})

describe('the name of a file', () => {
  it('says its data and every option that decides its pixels, and who may share them', async () => {
    await fc.assert(
      fc.asyncProperty(text, text, options, options, async (one, other, first, second) => {
        const same = one === other && JSON.stringify(first) === JSON.stringify(second)
        expect((await nameOf(one, first)) === (await nameOf(other, second))).toBe(same)
      }),
      { numRuns: inputs(300, 5000) },
    )
  })

  it('is the same whatever the media type of a data URL says', async () => {
    const plain = await nameOf('iVBORw0KGgo=')
    for (const type of ['', 'image/png', 'image/jpeg', 'text/plain;charset=utf-8', 'video/mp4;codecs=avc1,mp4a'])
      for (const scheme of ['data', 'DATA']) expect(await nameOf(`${scheme}:${type};base64,iVBORw0KGgo=`)).toBe(plain)
  })

  it('is not that of a malformed URL, nor that of a file with the same bytes as text', async () => {
    const whole = 'data:image/png;base64,iVBORw0KGgo='
    const others = [whole.replace(';base64', ''), whole.replace('base64,', 'base64'), `data:;base64,${whole}`]
    const names = await Promise.all([whole, ...others].map((url) => nameOf(url)))
    names.push(await nameOf(Buffer.from('iVBORw0KGgo=')))
    expect(new Set(names).size).toBe(names.length)
  })

  it('is never that of other bytes, however both are written', async () => {
    const written = fc
      .tuple(
        fc.constantFrom(
          '',
          'data:;base64,',
          'data:image/png;base64,',
          'data:a/b; base64 ,',
          'data:;base64,data:;base64,',
        ),
        fc.constantFrom('QUJD', 'QUJE', 'QUJD\n', 'QU%4AD', 'QUJD====', 'ÅUJD', '\u0141UJD', 'QUJD\ud83d', ''),
      )
      .map((parts) => parts.join(''))
    const bytesOf = (url: string) => {
      try {
        return decodeDataUrl(url, 'image').toString()
      } catch {
        return undefined
      }
    }
    await fc.assert(
      fc.asyncProperty(written, written, async (one, other) => {
        // Only what could be decoded is remembered.
        if (bytesOf(one) !== undefined && (await nameOf(one)) === (await nameOf(other)))
          expect(bytesOf(other)).toBe(bytesOf(one))
      }),
      { numRuns: inputs(500, 5000) },
    )
  })

  it('depends on every part of a large file, which is hashed in pieces', async () => {
    const large = 'A'.repeat(1_000_000)
    const names = [await nameOf(large), await nameOf(Buffer.from(large))]
    for (const at of [0, 255_999, 256_000, 511_999, 512_000, 999_999]) {
      const changed = `${large.slice(0, at)}B${large.slice(at + 1)}`
      names.push(await nameOf(changed), await nameOf(Buffer.from(changed)))
    }
    expect(new Set(names).size).toBe(14)
    expect(await nameOf(`data:image/png;base64,${large}`)).toBe(names[0])
  })

  it('of a large file leaves the event loop to others between its pieces', async () => {
    let turns = 0
    const counting = setInterval(() => {}, 1000)
    const count = (): void => {
      turns++
      if (counting.hasRef()) setImmediate(count)
    }
    setImmediate(count)
    await nameOf('A'.repeat(2_560_000))
    counting.unref()
    clearInterval(counting)
    expect(turns).toBeGreaterThanOrEqual(9)
  })
})

it('what is known of files is bounded', () => {
  const header = {
    kind: 'image' as const,
    format: 'png' as const,
    bytes: 9,
    pages: 1,
    sizes: [{ width: 1, height: 1 }],
  }
  const size = { width: 1, height: 1 }
  const image = { ...size, kind: 'image' as const, hash: 'h', original: size, page: 1, time: 0 }
  const known = new SeenFiles()
  const add = (from: number, count: number): void => {
    for (let at = from; at < from + count; at++) known.set(String(at), { header, parts: [image] })
  }
  add(0, 1)
  expect(known.get('0', 1)).toMatchObject({ header: { format: 'png' } })
  // More pages than the request may have: it has to be refused with the words of the decoder.
  expect(known.get('0', 0)).toBeUndefined()
  add(1, 20_000)
  expect(known.get('0', 1)).toBeUndefined()
  expect(known.get('20000', 1)).toBeDefined()
})
