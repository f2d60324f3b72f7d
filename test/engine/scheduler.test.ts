import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Cores } from '../../src/engine/cores.ts'
import type { HeaderPiece, HeaderRequest } from '../../src/engine/generation.ts'
import type { GenerateRequest, PromptPiece } from '../../src/engine/index.ts'
import { Scheduler } from '../../src/engine/scheduler.ts'
import type { Decoder } from '../../src/language/index.ts'
import {
  type AdapterName,
  adaptedContents,
  answerAlone,
  architecture,
  embeddingsOf,
  imageOf,
  imageWidths,
  KvModel,
  slowEncoder,
} from '../support/kv-model.ts'
import { inputs } from '../support/long.ts'
import { engineSettings, greedy, requestOf } from '../support/pocket.ts'

/** A request at some time, perhaps cancelled at another, in ticks of the event loop. */
interface Visit {
  at: number
  cancelled: number | null
  /** When its reader falls behind, and for how long. */
  pause?: { from: number; for: number } | null | undefined
  request: HeaderRequest
}

const text = fc.constantFrom('', 'a', 'ab', 'abcabc', 'abcabcabcabcabcabcabcabcabcabcabcabcabcabcabc', 'system: ')
const piece: fc.Arbitrary<PromptPiece> = fc.oneof(
  text.map((text) => ({ kind: 'text' as const, text, special: true })),
  fc
    .record({ hash: fc.constantFrom('1', '2'), width: fc.constantFrom(...imageWidths) })
    .map(({ hash, width }) => imageOf(hash, width)),
)
const visit: fc.Arbitrary<Visit> = fc.record({
  at: fc.nat(60),
  cancelled: fc.option(fc.nat(80), { freq: 5 }),
  pause: fc.option(fc.record({ from: fc.nat(40), for: fc.nat(40) }), { freq: 3 }),
  request: fc
    .record({
      prompt: fc
        .array(piece, { maxLength: 3 })
        .map((pieces) => [...pieces, { kind: 'text', text: '?', special: true } as const]),
      maxTokens: fc.integer({ min: 1, max: 40 }),
      n: fc.constantFrom(1, 1, 1, 2, 3),
      client: fc.constantFrom('one', 'two', 'three'),
      seed: fc.constantFrom(1, 2),
      cacheKey: fc.constantFrom('', 'other'),
      cachePrompt: fc.constantFrom(true, true, false),
      cachedMost: fc.option(fc.nat(50), { freq: 3 }),
      stop: fc.constantFrom([], [], ['a'], ['bc', 'q', 'xyz']),
      topLogprobs: fc.constantFrom(null, 1),
      adapter: fc.constantFrom<(AdapterName | null)[]>(null, null, 'left', 'right', 'late', 'late'),
    })
    .map(({ prompt, seed, adapter, ...over }) =>
      withAdapter(adapter, requestOf(prompt, { ...over, sampling: { ...greedy, seed } })),
    ),
})

const withAdapter = (name: AdapterName | null, request: GenerateRequest): HeaderRequest =>
  name === null ? request : { ...request, adapterKey: name, adapter: { id: name, scale: 1 } }

/**
 * Runs visits with a small KV memory.
 * @param whole whether one batch must hold all embeddings of a tile
 * @returns each one's texts, or its error's kind
 */
async function run(
  visits: readonly Visit[],
  cells: number,
  chunkTokens: number,
  encodeTicks: number,
  {
    mixes = true,
    grids = false,
    whole = false,
    slow = false,
    stateful = false,
    /** Whether a batch of several rows takes much longer than one of a single row. */
    costly = false,
    decodes = false,
    prefixCacheBytes = 5000,
    maxQueue = 1000,
    encoder = slowEncoder(encodeTicks),
    decoding = (_rows: number): void => {},
  } = {},
) {
  const atOnce = Math.max(...imageWidths) - 1
  const model = new KvModel(cells, Math.max(chunkTokens, whole ? atOnce : 0) + 4, mixes, grids, whole, slow, stateful)
  const outcomes = visits.map(({ request: { n } }) => ({
    texts: Array.from({ length: n }, () => ''),
    /** Texts of the tokens that come with log probabilities: more than the text, if a stop string cuts that. */
    tokens: Array.from({ length: n }, () => ''),
    cached: -1,
    end: '',
    /** Ticks. */
    admitted: -1,
    ended: -1,
  }))
  const gone = new Set<string>()
  /** Images that are decoded. */
  const pixels = new Set<string>()
  let now = 0
  const decode: Decoder['decode'] = (batch, mutual, adapter) => {
    const rows = (batch as unknown as { rows: readonly unknown[] }).rows.length
    decoding(rows)
    const until = performance.now() + (costly && rows > 1 ? 0.5 : 0)
    while (performance.now() < until);
    return model.decoder.decode(batch, mutual, adapter)
  }
  const scheduler = new Scheduler({
    decoder: { ...model.decoder, decode },
    architectures: { images: whole ? { ...architecture, atOnce } : architecture, audio: null },
    encoder,
    cores: new Cores(1),
    settings: { ...engineSettings, maxSequences: 4, chunkTokens, maxQueue, prefixCacheBytes },
    port: {
      emit(id, event) {
        const outcome = outcomes[id]
        if (outcome === undefined || outcome.end !== '') throw new Error('an event after the end')
        if (event.type === 'prompt') Object.assign(outcome, { cached: event.cachedTokens, admitted: now })
        if (event.type === 'text') {
          outcome.texts[event.choice] += event.text
          for (const { bytes } of event.tokens) outcome.tokens[event.choice] += Buffer.from(bytes).toString()
        }
        if (event.type === 'done') Object.assign(outcome, { end: 'done', ended: now })
      },
      fail(id, error) {
        const outcome = outcomes[id]
        if (outcome !== undefined) outcome.end = (error as { kind?: string }).kind ?? String(error)
      },
      answer() {},
      flush() {},
      async payload(id, { attachment: { hash } }) {
        const name = `${id} ${hash}`
        if (gone.has(name)) throw new Error('pixels are requested again after they were let go')
        if (!decodes || pixels.has(name)) return new Uint8Array()
        const decoded = new Promise((resolve) => setImmediate(resolve)).then(() => void pixels.add(name))
        return { decoded }
      },
      letGo: (id, { attachment: { hash } }) => gone.add(`${id} ${hash}`),
    },
  })
  for (const name of ['left', 'right', 'late']) void scheduler.adapters.load(name, name)
  for (let tick = 0; outcomes.some(({ end }) => end === ''); tick++) {
    now = tick
    visits.forEach(({ at, cancelled, pause, request }, id) => {
      if (at === tick) scheduler.submit(id, request)
      if (pause && tick === at + pause.from) scheduler.pause(id, true)
      if (pause && tick === at + pause.from + pause.for) scheduler.pause(id, false)
      if (cancelled !== null && tick === at + cancelled) scheduler.cancel(id)
    })
    await new Promise((resolve) => setImmediate(resolve))
    if (tick > 20_000) throw new Error(`no progress: ${JSON.stringify(scheduler.state)}`)
  }
  return { outcomes, scheduler, model }
}

const adapterIn = ({ adapterKey }: HeaderRequest): AdapterName | null => (adapterKey ?? null) as AdapterName | null

const contentsOf = (prompt: readonly HeaderPiece[]): number[] =>
  prompt.flatMap((part) => {
    if (part.kind === 'text') return Array.from(part.text, (character) => character.charCodeAt(0))
    if (part.kind === 'tokens') return [...part.tokens]
    if (part.kind === 'audio') throw new Error('only images are in these prompts')
    const { hash, width } = part
    const [first = 0, ...others] = embeddingsOf(hash, width)
    return [60, first, 124, ...others, 62]
  })

describe('the scheduler, on a model of the KV memory', () => {
  it('answers every request as if it ran alone, under any schedule of arrivals, cancels and shared prefixes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(visit, { minLength: 1, maxLength: 14 }),
        fc.constantFrom(150, 220, 1000),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(8),
        fc.record({
          mixes: fc.boolean(),
          grids: fc.boolean(),
          whole: fc.boolean(),
          slow: fc.boolean(),
          stateful: fc.boolean(),
          costly: fc.boolean(),
          decodes: fc.boolean(),
          prefixCacheBytes: fc.constantFrom(1, 1000, 20000),
        }),
        async (visits, cells, chunk, ticks, kind) => {
          const { outcomes, scheduler, model } = await run(visits, cells, chunk, ticks, kind)
          visits.forEach(({ request, cancelled }, id) => {
            const outcome = outcomes[id]
            const [prompt, added] = adaptedContents(contentsOf(request.prompt), adapterIn(request))
            const fits = prompt.length + (request.maxTokens ?? 0) <= cells
            if (outcome?.end !== 'done') {
              expect([fits ? null : 'invalid', cancelled === null ? null : 'cancelled']).toContain(outcome?.end)
              return
            }
            expect(fits).toBe(true)
            expect(outcome?.texts).toEqual(
              outcome?.texts.map((_, i) =>
                answerAlone(
                  prompt,
                  (request.sampling.seed ?? 0) + i,
                  request.maxTokens ?? Infinity,
                  request.stop,
                  added,
                ),
              ),
            )
            // Each token is a character, and comes with its own log probability.
            for (const [i, tokens] of (outcome?.tokens ?? []).entries())
              expect(tokens.startsWith(request.topLogprobs === null ? '' : (outcome?.texts[i] ?? '?'))).toBe(true)
            if (!request.cachePrompt) expect(outcome?.cached).toBe(0)
          })
          const { running, waiting, freeCells } = scheduler.state
          expect({ running, waiting }).toEqual({ running: 0, waiting: 0 })
          expect(freeCells).toBe(model.freeCells)
          expect(model.samplers).toBe(0)
        },
      ),
      { numRuns: inputs(100, 2000) },
    )
  }, 600_000)

  it('shares an image with grid positions as a whole or not at all', async () => {
    const image = imageOf('1', 17)
    const visits = [null, null, 12].map((cachedMost, i) => ({
      at: i * 100,
      cancelled: null,
      request: requestOf([image, { kind: 'text', text: `?${i}`, special: true }], { cachedMost, maxTokens: 3 }),
    }))
    const cachedOf = async (grids: boolean) =>
      (await run(visits, 1000, 16, 0, { grids })).outcomes.map((one) => one.cached)
    expect(await cachedOf(false)).toEqual([0, 21, 12])
    expect(await cachedOf(true)).toEqual([0, 21, 3])
  })

  it('on a hybrid decoder shares what ends at an image, at a turn, or where another sequence ended', async () => {
    const image = imageOf('1', 17)
    const turn = String.fromCharCode(0)
    const asked = (at: number, text: string) => ({
      at,
      cancelled: null,
      request: requestOf([image, { kind: 'text', text, special: true }], { maxTokens: 3 }),
    })
    const visits = ['what?', 'which?', `how?${turn}a`, `how?${turn}b`, `how?${turn}a`].map((text, i) =>
      asked(60 * i, text),
    )
    const { outcomes } = await run(visits, 1000, 16, 0, { stateful: true, prefixCacheBytes: 1e5 })
    const imageEnd = 19
    expect(outcomes.map(({ cached }) => cached)).toEqual([0, imageEnd, imageEnd, imageEnd + 6, imageEnd + 6])
  })

  it('shares with an adapter only what is computed with the same one, and what is before its invocation', async () => {
    const text = 'the start of all. c of some'
    const prompt = [{ kind: 'text', text, special: true } as const]
    const cachedOf = async (names: (AdapterName | null)[], apart: number) => {
      const visits = names.map((name, at) => ({
        at: at * apart,
        cancelled: null,
        request: withAdapter(name, requestOf(prompt, { maxTokens: 3 })),
      }))
      return (await run(visits, 1000, 64, 0)).outcomes.map(({ cached }) => cached)
    }
    const whole = text.length - 1
    const before = text.lastIndexOf('c')
    // After one another, and while the first one runs.
    for (const apart of [60, 3]) {
      expect(await cachedOf([null, 'left', 'right', 'left', null], apart)).toEqual([0, 0, 0, whole, whole])
      expect(await cachedOf([null, 'late', 'late'], apart)).toEqual([0, before, whole])
      expect(await cachedOf(['late', null, 'left'], apart)).toEqual([0, before, 0])
    }
  })

  it('does not share prefixes between isolation keys', async () => {
    const prompt = [{ kind: 'text', text: 'the secret of a user', special: true } as const]
    const visits = ['alice', 'bob', 'alice'].map((cacheKey, i) => ({
      at: i * 100,
      cancelled: null,
      request: requestOf(prompt, { cacheKey, maxTokens: 3 }),
    }))
    const { outcomes } = await run(visits, 1000, 16, 0)
    expect(outcomes.map(({ cached }) => cached)).toEqual([0, 0, 19])
  })

  it('beside an answer computes a prompt row by row while an image is encoded, where more rows would take long', async () => {
    const encoder = slowEncoder(40)
    const beside: number[] = []
    const decoding = (rows: number): void => {
      if (encoder.busy) beside.push(rows)
    }
    const talker = { at: 0, cancelled: null, request: requestOf([textOf(talkerOf(80))], { maxTokens: 80 }) }
    const prompt = [textOf('a'.repeat(15)), imageOf('1', 17), textOf('?')]
    const looker = { at: 20, cancelled: null, request: requestOf(prompt, { maxTokens: 3 }) }
    const kind = { costly: true, encoder, decoding }
    const { outcomes } = await run([talker, looker], 1000, 16, 0, kind)
    expect(outcomes.map(({ end }) => end)).toEqual(['done', 'done'])
    expect(outcomes[1]?.texts).toEqual([answerAlone(contentsOf(prompt), 0, 3)])
    // All of the text before the image, one row after each token of the answer.
    expect(beside.length).toBeGreaterThan(20)
    expect(new Set(beside)).toEqual(new Set([1]))
  })

  it('lets at most eight small requests overtake one that does not fit', async () => {
    const talker = talkerOf(60)
    const visitOf = (at: number, text: string, maxTokens: number): Visit => ({
      at,
      cancelled: null,
      request: requestOf([textOf(text)], { maxTokens, cachePrompt: false }),
    })
    const talking = [0, 1].map((at) => visitOf(at, talker, 60))
    const largeVisit = visitOf(4, 'a'.repeat(120), 4)
    const small = Array.from({ length: 20 }, (_, number) => visitOf(6 + number, `b${number}`, 2))
    const { outcomes } = await run([...talking, largeVisit, ...small], 220, 16, 0)
    const [first, , large, ...passing] = outcomes
    expect(large?.admitted).toBeGreaterThanOrEqual(first?.ended ?? Infinity)
    const before = passing.filter(({ admitted }) => admitted < (large?.admitted ?? 0))
    expect(before).toHaveLength(8)
    expect(before.every(({ ended }) => ended < (first?.ended ?? 0))).toBe(true)
  })
})

/** A text whose answer is as long as it may be. */
const talkerOf = (maxTokens: number, from = 0): string => {
  const numbers = Array.from({ length: 5000 }, (_, number) => `${from}.${number}?`)
  const found = numbers.find((text) => answerAlone(contentsOf([textOf(text)]), 0, maxTokens).length === maxTokens)
  if (found === undefined) throw new Error('every answer ends early')
  return found
}

describe('clients share the engine', () => {
  const visitOf = (client: string, at: number, text: string, over: Partial<GenerateRequest> = {}): Visit => ({
    at,
    cancelled: null,
    request: requestOf([textOf(text)], { client, ...over }),
  })

  it('one that comes gets a slot at once, although another has all of them and a long queue', async () => {
    const many = Array.from({ length: 40 }, (_, i) => visitOf('many', 0, talkerOf(60, i), { maxTokens: 60 }))
    const { outcomes } = await run([...many, visitOf('few', 10, 'b', { maxTokens: 3 })], 5000, 16, 0)
    const few = outcomes.at(-1)
    expect((few?.ended ?? Infinity) - 10).toBeLessThan(60)
    // What was preempted for it has answered all the same.
    expect(outcomes.every(({ end }) => end === 'done')).toBe(true)
  })

  it('a request for many answers leaves slots to another client, and has all answers in the end', async () => {
    const text = talkerOf(60)
    const { outcomes } = await run(
      [visitOf('many', 0, text, { n: 4, maxTokens: 60 }), visitOf('few', 10, 'b', { maxTokens: 3 })],
      5000,
      16,
      0,
    )
    const [many, few] = outcomes
    expect(few?.ended).toBeLessThan(many?.ended ?? 0)
    expect(many?.texts).toEqual(Array.from({ length: 4 }, () => answerAlone(contentsOf([textOf(text)]), 0, 60)))
  })

  it('answers of one client are not stopped by the prompts of another', async () => {
    const long = (i: number) => `${i}${'a'.repeat(400)}`
    const many = Array.from({ length: 20 }, (_, i) => visitOf('many', 0, long(i), { maxTokens: 1 }))
    const { outcomes } = await run([...many, visitOf('few', 5, long(99), { maxTokens: 1 })], 20_000, 8, 0)
    const before = outcomes.slice(0, -1).filter(({ ended }) => ended < (outcomes.at(-1)?.ended ?? 0))
    // By then each client has computed the same number of cells.
    expect(before.length).toBeLessThanOrEqual(3)
  })

  it('a full queue refuses the newest request of the client that fills it', async () => {
    const many = Array.from({ length: 20 }, (_, i) => visitOf('many', 0, talkerOf(20, i), { maxTokens: 20 }))
    const few = Array.from({ length: 3 }, (_, i) => visitOf('few', 3, `b${i}`, { maxTokens: 2 }))
    const { outcomes } = await run([...many, ...few], 5000, 16, 0, { maxQueue: 8 })
    const ends = outcomes.map(({ end }) => end)
    expect(ends.slice(-3)).toEqual(['done', 'done', 'done'])
    expect(ends.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => 'done').with(7, ends[7] ?? ''))
    expect(ends.filter((end) => end === 'overloaded').length).toBeGreaterThanOrEqual(8)
  })

  it('nobody leaves a full queue for a request that is refused', async () => {
    const many = Array.from({ length: 12 }, (_, i) => visitOf('many', i, talkerOf(40, i), { maxTokens: 40 }))
    const { outcomes } = await run([...many, visitOf('bad', 15, 'a'.repeat(6000))], 5000, 16, 0, { maxQueue: 8 })
    expect(outcomes.map(({ end }) => end)).toEqual([...many.map(() => 'done'), 'invalid'])
  })

  it('an answer that nobody reads gives its slot to others, and continues when it is read', async () => {
    const readers = [0, 1, 2, 3].map((i) => ({
      ...visitOf('one', 0, talkerOf(30, i), { maxTokens: 30 }),
      pause: { from: 12, for: 400 },
    }))
    const { outcomes } = await run([...readers, visitOf('one', 60, talkerOf(20, 9), { maxTokens: 20 })], 5000, 16, 0)
    expect(outcomes.at(-1)?.ended).toBeLessThan(400)
    for (const { ended, end } of outcomes.slice(0, 4)) {
      expect(ended).toBeGreaterThan(400)
      expect(end).toBe('done')
    }
  })
})

const textOf = (text: string): PromptPiece => ({ kind: 'text', text, special: true })
