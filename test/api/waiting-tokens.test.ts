import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WaitingTokens } from '../../src/api/answering/waiting-tokens.ts'

const token = (text: string | Uint8Array, id = 0) => ({ id, bytes: Buffer.from(text), logprob: -1, top: [] })
const textOf = (tokens: readonly { bytes: Uint8Array }[]) => tokens.map(({ bytes }) => Buffer.from(bytes).toString())

describe('the tokens of a text', () => {
  it('are those whose bytes are in it, wherever they are cut', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
        (text, cuts) => {
          const bytes = Buffer.from(text)
          const sizes = cuts[Symbol.iterator]()
          const size = (): number => sizes.next().value ?? 1
          const tokens: ReturnType<typeof token>[] = []
          for (let at = 0; at < bytes.length; ) {
            const next = at + size()
            tokens.push(token(bytes.subarray(at, next), tokens.length))
            at = next
          }
          const waiting = new WaitingTokens()
          waiting.add(tokens)
          const letters = [...text]
          const taken: number[] = []
          while (letters.length > 0) taken.push(...waiting.take(letters.splice(0, size()).join('')).map(({ id }) => id))
          expect(taken).toEqual([...tokens.keys()])
        },
      ),
    )
  })

  it('are not the marks around it, nor the white space that is dropped beside them', () => {
    const waiting = new WaitingTokens()
    waiting.add(['<think>', '\n', 'Hm', '.', '\n</think>', '\n\n', 'Yes', '.'].map((text) => token(text)))
    expect(textOf(waiting.take('Hm.'))).toEqual(['Hm', '.'])
    expect(textOf(waiting.take('Yes.'))).toEqual(['Yes', '.'])
  })

  it('may begin after a mark within a token, and may wait for more text', () => {
    const waiting = new WaitingTokens()
    waiting.add([token('> Yes'), token(', sir')])
    expect(textOf(waiting.take('Yes, '))).toEqual(['> Yes', ', sir'])
    expect(waiting.take('si')).toEqual([])
    waiting.add([token('!')])
    expect(textOf(waiting.take('r!'))).toEqual(['!'])
  })

  it('are found after a tag that no token wrote', () => {
    const waiting = new WaitingTokens()
    waiting.add(['Hm', '.'].map((text) => token(text)))
    expect(textOf(waiting.take('<think>\nHm.'))).toEqual(['Hm', '.'])
    waiting.add([token('Yes')])
    expect(waiting.take('\n</think>\n\n')).toEqual([])
    expect(textOf(waiting.take('Yes'))).toEqual(['Yes'])
  })

  it('are found after text that none of them wrote, in its midst and at a character that is not whole', () => {
    const waiting = new WaitingTokens()
    waiting.add(['\n', 'Ok'].map((text) => token(text)))
    expect(textOf(waiting.take('\n\nOk'))).toEqual(['\n', 'Ok'])
    waiting.add([token('a'), token(Uint8Array.of(0xf0)), token(Uint8Array.of(0x9f)), token('b'), token('c')])
    expect(waiting.take('a\uFFFDbc')).toHaveLength(5)
    waiting.add([token('d'), token(Uint8Array.of(0xf0)), token(Uint8Array.of(0xe4)), token(Uint8Array.of(0xbd, 0xa0))])
    expect(waiting.take('d\uFFFD你')).toHaveLength(4)
    waiting.add([token('e'), token(Uint8Array.of(0xf0))])
    expect(waiting.take('e\uFFFD')).toHaveLength(2)
  })

  it('are not looked for among ever more that are named otherwise', () => {
    const waiting = new WaitingTokens()
    waiting.add(Array.from({ length: 100_000 }, () => token('Ġa')))
    const began = performance.now()
    for (let word = 0; word < 2000; word++) {
      waiting.add([token('Ġa')])
      expect(waiting.take(' a')).toEqual([])
    }
    expect(performance.now() - began).toBeLessThan(5000)
  })

  it('are none without log probabilities', () => {
    expect(new WaitingTokens().take('Yes.')).toEqual([])
  })
})
