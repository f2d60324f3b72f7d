import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HiddenTags } from '../../src/deployments/embedded/hidden-tags.ts'
import type { AnswerPart } from '../../src/deployments/index.ts'

const tags = new Set(['<|box_start|>', '<|box_end|>', '<loc_1>', '<loc_12>'])
const words = [...tags, '<', '>', '|', '<|', 'box_start|>', '<b>', 'loc_1', 'a cup', '\n']
const without = (text: string): string => text.replace(/<[^<>]*>/g, (tag) => (tags.has(tag) ? '' : tag))

const part = (raw: string, kind: 'text' | 'reasoning'): AnswerPart => ({
  ...{ type: 'part', choice: 0, completionTokens: 1, tokens: [], raw, pieces: raw === '' ? [] : [{ kind, text: raw }] },
})

describe('tags that are hidden', () => {
  it('leave nothing of themselves in the text, wherever it is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words)), fc.array(fc.nat({ max: 9 })), (said, lengths) => {
        const text = said.join('')
        const hiding = new HiddenTags(tags)
        let raw = ''
        let pieces = ''
        const take = (shown: Pick<AnswerPart, 'raw' | 'pieces'>) => {
          raw += shown.raw
          pieces += shown.pieces.map((piece) => ('text' in piece ? piece.text : '')).join('')
        }
        let at = 0
        for (const length of lengths) {
          take(hiding.push(part(text.slice(at, at + length), 'text')))
          at += length
        }
        take(hiding.push(part(text.slice(at), 'text')))
        take(hiding.finish())
        expect({ raw, pieces }).toEqual({ raw: without(text), pieces: without(text) })
      }),
    )
  })

  it('hold nothing back that another kind of text follows', () => {
    const hiding = new HiddenTags(tags)
    expect(hiding.push(part('so a <', 'reasoning')).pieces).toEqual([{ kind: 'reasoning', text: 'so a ' }])
    expect(hiding.push(part('b', 'text')).pieces).toEqual([
      { kind: 'reasoning', text: '<' },
      { kind: 'text', text: 'b' },
    ])
  })
})
