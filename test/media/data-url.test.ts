import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { decodeDataUrl } from '../../src/media/decoder/data-url.ts'
import { inputs } from '../support/long.ts'

describe('base64', () => {
  it('decodes to the original bytes, however it is written', () => {
    const written = fc.record({
      bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
      alphabet: fc.constantFrom('base64' as const, 'base64url' as const),
      before: fc.constantFrom(
        '',
        'data:;base64,',
        'data:image/png;base64,',
        'DATA:a/b;c=d;BASE64,',
        'data:image/png; base64 ,',
        'data:video/mp4;codecs=avc1.42000a,mp4a.40.2;base64,',
        'data:video/webm;codecs="vp8, opus";base64,',
      ),
      gap: fc.constantFrom('', '\n', '\r\n', ' ', '%0A', '\t'),
      every: fc.integer({ min: 1, max: 76 }),
      padded: fc.boolean(),
    })
    fc.assert(
      fc.property(written, ({ bytes, alphabet, before, gap, every, padded }) => {
        const text = Buffer.from(bytes).toString(alphabet)
        const ended = padded ? text : text.replace(/=+$/, '')
        const broken = ended.replace(new RegExp(`.{${every}}`, 'g'), `$&${gap}`)
        expect(decodeDataUrl(before + broken, 'image')).toEqual(Buffer.from(bytes))
      }),
      { numRuns: inputs(300, 1000) },
    )
  })

  it('is refused if any character is not base64, never decoded in part', () => {
    const characters = fc.string({ unit: fc.constantFrom(...'AZaz09+/-_=* \n,;é€'), minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(characters, (text) => {
        let bytes: Buffer
        try {
          bytes = decodeDataUrl(`data:;base64,${text}`, 'image')
        } catch (error) {
          expect(error).toMatchObject({ kind: 'invalid', code: 'invalid_image_url' })
          expect(error).toBeInstanceOf(OrielError)
          return
        }
        const dense = text.replace(/\s/g, '').replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/')
        // The last character may contain surplus bits.
        expect(bytes.toString('base64').replace(/=+$/, '').slice(0, -1)).toBe(dense.slice(0, -1))
      }),
      { numRuns: inputs(1000, 5000) },
    )
  })
})
