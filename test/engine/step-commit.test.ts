import { describe, expect, it } from 'vitest'
import { type PackedEvent, unpacked } from '../../src/engine/packed-chances.ts'
import type { Sequence } from '../../src/engine/sequence.ts'
import type { Pass } from '../../src/engine/step-batch.ts'
import { StepCommit } from '../../src/engine/step-commit.ts'
import { Costs } from '../../src/fairness.ts'
import { KvModel } from '../support/kv-model.ts'
import { requestIn } from '../support/sequences.ts'

/** @param tokens to be sampled one after the other; null: none is allowed; a list: what a search finds in each slice */
function commitOf(tokens: (string | null | Error | Found[])[]) {
  const events: PackedEvent[] = []
  const ended: Sequence[] = []
  const moves: unknown[][] = []
  const { vocabulary } = new KvModel(1, 1, true).decoder
  const row = new Float32Array(vocabulary.size)
  /** The logits of the end token and of token 5, as the samplers saw them. */
  const seen: unknown[] = []
  const commit = new StepCommit(
    {
      vocabulary,
      logits: () => row,
      sample() {
        const token = tokens.shift()
        seen.push([row[0], row[5]])
        if (Array.isArray(token)) return { logits: row.slice(), run: () => foundIn(token) }
        if (token instanceof Error) throw token
        return token === null || token === undefined ? null : token.charCodeAt(0)
      },
    },
    { extend: (...move) => moves.push(['extend', ...move]), share: (...move) => moves.push(['share', ...move]) },
    { emit: (_, event) => events.push(event), ended: (sequence) => ended.push(sequence) },
  )
  return { commit, events, ended, moves, row, seen }
}

/** The code of a character, or undefined if it is not found yet. */
type Found = number | undefined | Error

function foundIn(slices: Found[]): number | undefined {
  const found = slices.shift()
  if (found instanceof Error) throw found
  return found
}

const passOf = (sequence: Sequence, count: number, row?: number, predicted: Pass['entries'][0]['predicted'] = []) => {
  return { entries: [{ sequence, count, row, predicted }] } as Partial<Pass> as Pass
}

describe('the commit of a pass', () => {
  it('advances a sequence in prefill without sampling', () => {
    const { commit, events, moves } = commitOf(['a'])
    const { first } = requestIn({ prompt: 10, slot: 3 })
    commit.commit(passOf(first, 4))
    expect([first.filled, first.cells.length, events]).toEqual([4, 10, []])
    expect(moves).toEqual([['extend', 3, 4]])
  })

  it('appends the sampled token and emits its text', () => {
    const { commit, events } = commitOf(['a', 'b'])
    const { first, request } = requestIn({ prompt: 2, slot: 0 })
    commit.commit(passOf(first, 2, 1))
    commit.tell()
    commit.commit(passOf(first, 1, 0))
    commit.tell()
    expect(first.cells.slice(2)).toEqual([97, 98])
    expect(first).toMatchObject({ filled: 3, generated: 2, ended: false })
    expect(request.firstToken).toBeGreaterThan(0)
    expect(events).toMatchObject([
      { type: 'text', text: 'a', generated: 1 },
      { type: 'text', text: 'b', generated: 2 },
    ])
  })

  it('leaves text and log probabilities of an answer that goes on until the next step runs', () => {
    const { commit, events, row } = commitOf(['a'])
    const { first } = requestIn({ prompt: 1, slot: 0, over: { topLogprobs: 0 } })
    row[97] = 3
    commit.commit(passOf(first, 1, 0))
    expect([first.remaining, events]).toEqual([1, []])
    // The next step overwrites them.
    row.fill(9)
    commit.tell()
    const logprob = 3 - Math.log(Math.exp(3) + 127)
    expect(events).toMatchObject([{ text: 'a', tokens: [{ id: 97, logprob: expect.closeTo(logprob, 5) }] }])
    commit.tell()
    expect(events).toHaveLength(1)
  })

  it('gives the model’s own log probabilities of tokens that may not end the answer yet', () => {
    const { commit, events, row, seen } = commitOf(['a', [98]])
    const { first } = requestIn({ prompt: 1, slot: 0, over: { topLogprobs: 128, minTokens: 2, stopTokens: [5] } })
    row.fill(1)
    commit.commit(passOf(first, 1, 0))
    commit.tell()
    commit.commit(passOf(first, 1, 0))
    expect([...row].every((logit) => logit === 1)).toBe(true)
    commit.search(1000, new Costs())
    commit.tell()
    expect(seen).toEqual([
      [-Infinity, -Infinity],
      [-Infinity, -Infinity],
    ])
    for (const event of events.flatMap((event) => (event.type === 'text' ? event.tokens : [])))
      expect(new Set(event.top.map(({ logprob }) => logprob.toFixed(4)))).toEqual(
        new Set([(-Math.log(128)).toFixed(4)]),
      )
  })

  it.each<[string, (string | null)[], Parameters<typeof requestIn>[0]['over'], object]>([
    ['the end token', ['a', '\0'], {}, { reason: 'stop', stop: null, completionTokens: 2 }],
    ['no allowed token', ['a', null], {}, { reason: 'stop', stop: null, completionTokens: 1 }],
    ['a stop string', ['a', 'b'], { stop: ['b'] }, { reason: 'stop', stop: 'b', completionTokens: 2 }],
    ['a stop token', ['a', 'b'], { stopTokens: [98] }, { reason: 'stop', stop: null, completionTokens: 2 }],
    ['the maximum of tokens', ['a', 'b'], { maxTokens: 2 }, { reason: 'length', stop: null, completionTokens: 2 }],
  ])('ends an answer at %s', (_, tokens, over, end) => {
    const { commit, events, ended } = commitOf(tokens)
    const { first } = requestIn({ prompt: 2, slot: 0, over: over ?? {} })
    commit.commit(passOf(first, 2, 1))
    commit.tell()
    commit.commit(passOf(first, 1, 0))
    expect(ended).toEqual([first])
    expect(events.at(-1)).toMatchObject({ type: 'end', ...end })
  })

  it('emits text that was held back when the answer ends', () => {
    const { commit, events } = commitOf(['a'])
    const { first } = requestIn({ prompt: 1, slot: 0, over: { stop: ['ab'] } })
    commit.commit(passOf(first, 1, 0))
    expect(events).toEqual([])
    commit.end(first, 'length')
    expect(events).toMatchObject([
      { type: 'text', text: 'a' },
      { type: 'end', reason: 'length' },
    ])
  })

  it('shares the prompt with the other answers of the request', () => {
    const { commit, events, moves } = commitOf(['a', 'b'])
    const { first, request } = requestIn({ prompt: 3, slot: 4, n: 2 })
    const second = request.sequences[1] as Sequence
    second.slot = 5
    commit.commit(passOf(first, 3, 2))
    expect(moves).toEqual([
      ['extend', 4, 3],
      ['share', 4, 5, 3, 3],
    ])
    commit.tell()
    expect(second).toMatchObject({ filled: 3, generated: 1 })
    expect(events.map((event) => (event.type === 'text' ? [event.choice, event.text] : []))).toEqual([
      [1, 'a'],
      [0, 'b'],
    ])
  })

  it('emits log probabilities of the prompt before the first token', async () => {
    const { commit, events } = commitOf(['a'])
    const { first } = requestIn({ prompt: 2, slot: 0, over: { promptLogprobs: true, topLogprobs: 0 } })
    commit.commit(passOf(first, 2, 1, [{ cell: 1, row: 0 }]))
    commit.tell()
    expect(events.map(({ type }) => type)).toEqual(['prompt_logprobs', 'text'])
    const told = await unpacked(events[0] as PackedEvent)
    expect(told).toMatchObject({ from: 1, tokens: [{ id: 1, logprob: -Math.log(128), top: [] }] })
    // A sequence that is computed again tells them no more.
    expect([first.wantsLogprob(1), first.request.tellsPrompt]).toEqual([false, false])
  })

  it('records a failure of sampling, and samples no more for the request', () => {
    const failure = new Error('too ambiguous')
    const { commit, events } = commitOf([failure, 'a'])
    const { first, request } = requestIn({ prompt: 2, slot: 0 })
    commit.commit(passOf(first, 2, 1))
    commit.commit(passOf(first, 0, 0))
    expect([request.failure, events]).toEqual([failure, []])
  })

  it('holds back an answer whose next token is searched for, and continues it when it is found', () => {
    const [b, e] = ['b', 'e'].map((character) => character.charCodeAt(0))
    const { commit, events } = commitOf(['a', [undefined, b], [undefined, undefined, e]])
    const one = requestIn({ prompt: 2, slot: 0, over: { topLogprobs: 0 } }).first
    const other = requestIn({ prompt: 2, slot: 1 }).first
    commit.commit(passOf(one, 2, 1))
    commit.commit(passOf(one, 1, 0))
    commit.commit(passOf(other, 2, 1))
    expect([one.remaining, other.remaining]).toEqual([0, 0])
    // A slice for each.
    expect([commit.search(1000, new Costs()), one.remaining]).toEqual([true, 0])
    expect([commit.search(1000, new Costs()), one.remaining, other.remaining]).toEqual([true, 1, 0])
    commit.tell()
    expect(events.at(-1)).toMatchObject({ type: 'text', text: 'b', tokens: [{ id: b }] })
    // A sequence that is computed again meanwhile waits for the same search.
    commit.commit(passOf(other, 0, 1))
    expect([commit.search(1000, new Costs()), other.remaining, commit.search(1000, new Costs())]).toEqual([
      true,
      1,
      false,
    ])
  })

  it('fails a request whose search fails, and searches no more for one that is over', () => {
    const failure = new Error('too ambiguous')
    const { commit } = commitOf([[undefined, failure], [undefined]])
    const { first, request } = requestIn({ prompt: 2, slot: 0 })
    const cancelled = requestIn({ prompt: 2, slot: 1 })
    commit.commit(passOf(first, 2, 1))
    commit.commit(passOf(cancelled.first, 2, 1))
    cancelled.request.abort.abort()
    expect([commit.search(1000, new Costs()), request.failure]).toEqual([true, undefined])
    expect([commit.search(1000, new Costs()), request.failure]).toEqual([true, failure])
    expect(commit.search(1000, new Costs())).toBe(false)
  })
})
