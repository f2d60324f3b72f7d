import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Engine, EnginePhase, EngineSettings, GenerateEvent, GenerateRequest } from '../../src/engine/index.ts'
import { shortRun } from '../support/long.ts'
import { pixels } from '../support/pixels.ts'
import { type Answer, answerOf, ask, greedy, requestOf, square, startPocket } from '../support/pocket.ts'

let engine: Engine
beforeAll(async () => {
  engine = await startPocket()
})
afterAll(() => engine.close())

const colours: [number, number, number][] = Array.from({ length: 32 }, (_, i) => [
  (i * 37) % 256,
  (i * 91) % 256,
  (i * 53) % 256,
])
const imageNumber = (i: number) => square(colours[i % colours.length] ?? [0, 0, 0])

describe('one request', () => {
  it('answers with events in order, and its usage is exact', async () => {
    const { events, prompt, texts } = await answerOf(engine, requestOf(ask('What is in this image?', imageNumber(0))))
    expect(events[0]?.type).toBe('prompt')
    expect(events.at(-1)?.type).toBe('done')
    expect(texts[0]).toBe('A black square on a white background.')
    // 64 x 64 pixels are enlarged to 8 x 8 patches; 7 breaks are between the rows, and an end mark follows.
    expect(prompt.attachmentTokens).toEqual([72])
    expect(prompt.promptTokens).toBe(
      (await engine.count(ask('What is in this image?', imageNumber(0)), 'one')).promptTokens,
    )
  })

  it('says what it waits for: a place, the encoder unless its image is cached, the decoder', async () => {
    const phasesOf = async (request: GenerateRequest): Promise<EnginePhase[]> => {
      const phases: EnginePhase[] = []
      const events = engine.generate(request, new AbortController().signal, (phase) => phases.push(phase))
      for await (const event of events) if (event.type === 'text') break
      return phases.filter((phase, index) => phase !== phases[index - 1])
    }
    const image = square([1, 2, 3], 64, 24, 'phases')
    expect(await phasesOf(requestOf(ask('What is this?', image)))).toEqual(['queued', 'encoding', 'prefill'])
    expect(await phasesOf(requestOf(ask('And this one?', image)))).toEqual(['queued', 'prefill'])
    expect(await phasesOf(requestOf(ask('Hello')))).toEqual(['queued', 'prefill'])
  })

  it('lets pixels go as soon as they are encoded, or at once if they are cached', async () => {
    const about = (hash: string, letGo: () => void) => {
      const seen = square([70, 10, 90], 64, 24, hash)
      return { ...seen, pixels: { ...seen.pixels, letGo } }
    }
    for (const again of [false, true]) {
      const gone: string[] = []
      const images = ['first', 'second'].map((hash) => about(hash, () => gone.push(hash)))
      const twice = [...images, about('first', () => gone.push('first'))]
      const request = requestOf(ask('What is in these images?', ...twice), { ignoreEos: true, maxTokens: 100 })
      let goneAtFirstText: string[] | undefined
      for await (const event of engine.generate(request, new AbortController().signal))
        if (event.type === 'text') goneAtFirstText ??= [...gone]
      expect({ again, gone: goneAtFirstText?.sort() }).toEqual({ again, gone: ['first', 'first', 'second'] })
    }
  })

  it('fails if the pixels that the encoder needs are gone, and does not wait for them', async () => {
    const image = square([3, 90, 200], 64, 24, 'freed')
    const gone = { ...image, pixels: pixels(new Uint8Array()) }
    await expect(answerOf(engine, requestOf(ask('What is this?', gone)))).rejects.toMatchObject({
      kind: 'internal',
      code: 'attachment_freed',
    })
    expect((await answerOf(engine, requestOf(ask('What is this?', image)))).texts[0]).toContain('square')
  })

  it('gives the same answer for the same seed, and different answers for other seeds', async () => {
    const sampling = { ...greedy, temperature: 1.5, seed: 11 }
    const request = requestOf(ask('Describe the image.', imageNumber(1)), { sampling })
    const [first, again] = [await answerOf(engine, request), await answerOf(engine, request)]
    expect(again.texts).toEqual(first.texts)
    const others = await Promise.all(
      [1, 2, 3, 4].map((seed) => answerOf(engine, { ...request, sampling: { ...sampling, seed } })),
    )
    expect(new Set(others.map(({ texts }) => texts[0])).size).toBeGreaterThan(1)
  })

  it('stops at max tokens and at a stop string, and continues past the end token with ignoreEos', async () => {
    const prompt = ask('What is in this image?', imageNumber(2))
    expect((await answerOf(engine, requestOf(prompt, { maxTokens: 2 }))).reasons).toEqual(['length'])
    const whole = (await answerOf(engine, requestOf(prompt))).texts[0] ?? ''
    const stop = whole.slice(4, 7)
    const cut = await answerOf(engine, requestOf(prompt, { stop: [stop] }))
    expect(cut.texts[0]).toBe(whole.slice(0, whole.indexOf(stop)))
    expect(cut.reasons).toEqual(['stop'])
    const long = await answerOf(engine, requestOf(prompt, { ignoreEos: true, maxTokens: 40 }))
    expect(long.reasons).toEqual(['length'])
    expect(
      long.events.findLast((event): event is Extract<GenerateEvent, { type: 'end' }> => event.type === 'end')
        ?.completionTokens,
    ).toBe(40)
  })

  it('follows a grammar after the text of grammarAfter', async () => {
    const prompt = ask('What is in this image?', imageNumber(3))
    const free = (await answerOf(engine, requestOf(prompt))).texts[0] ?? ''
    const [word = ''] = free.split(' ').slice(1, 2)
    const sampling = {
      ...greedy,
      grammar: { kind: 'gbnf' as const, text: 'root ::= "yes" | "no"' },
      grammarAfter: word,
    }
    const { texts, reasons } = await answerOf(engine, requestOf(prompt, { sampling }))
    expect(texts[0]).toMatch(new RegExp(`^${free.slice(0, free.indexOf(word) + word.length)}(yes|no)$`))
    expect(reasons).toEqual(['stop'])
  })

  it('refuses a text that cannot fit before it is tokenized', async () => {
    const text = 'word '.repeat(1_000_000)
    await expect(answerOf(engine, requestOf(ask(text)))).rejects.toMatchObject({
      code: 'context_length_exceeded',
      message: expect.stringMatching(/holds 4096 tokens of at most \d+ bytes each, and the prompt has 5000\d+ bytes/),
    })
  })

  it('counts a text with one object for each distinct token, so that the message stays small', async () => {
    const { tokens } = await engine.count([{ kind: 'text', text: 'hello '.repeat(2000), special: false }], 'one')
    expect(tokens.length).toBeGreaterThan(4000)
    expect(new Set(tokens).size).toBeLessThan(20)
  })

  it('stops a request that is not read when its signal aborts', async () => {
    const abort = new AbortController()
    const endless = requestOf(ask('Hi'), { ignoreEos: true, maxTokens: 3000 })
    const events = engine.generate(endless, abort.signal)[Symbol.asyncIterator]()
    await events.next()
    abort.abort()
    await expect.poll(async () => (await engine.state()).running, { timeout: 5000 }).toBe(0)
    await expect(events.next()).rejects.toMatchObject({ kind: 'cancelled' })
  })

  it('ends an answer whose grammar is too slow to follow, and no other', async () => {
    const grammar = { kind: 'gbnf' as const, text: `root ::= "-" (${'[a-z]? '.repeat(5000)})*` }
    const slow = answerOf(engine, requestOf(ask('Hi'), { n: 2, sampling: { ...greedy, grammar } }))
    const other = answerOf(engine, requestOf(ask('What is in this image?', imageNumber(3))))
    await expect(slow).rejects.toMatchObject({ kind: 'invalid', code: 'invalid_grammar' })
    expect((await other).reasons).toEqual(['stop'])
  })

  it('follows a grammar that the answer matches in very many ways', async () => {
    const grammar = { kind: 'gbnf' as const, text: 'root ::= "-" root "a" | "-" root "b" | "-"' }
    const [minus] = (await engine.count([{ kind: 'text', text: '-', special: false }], 'one')).tokens
    const logitBias = [{ token: minus?.id ?? 0, bias: 100 }]
    const { texts } = await answerOf(
      engine,
      requestOf(ask('Hi'), { maxTokens: 200, sampling: { ...greedy, grammar, logitBias } }),
    )
    expect(texts[0]).toMatch(/^-{100,}$/)
  })

  it('follows a grammar and a logit bias', async () => {
    const prompt = ask('What is in this image?', imageNumber(3))
    const grammar = { kind: 'gbnf' as const, text: 'root ::= "yes" | "no"' }
    expect((await answerOf(engine, requestOf(prompt, { sampling: { ...greedy, grammar } }))).texts[0]).toMatch(
      /^(yes|no)$/,
    )
    await expect(
      answerOf(engine, requestOf(prompt, { sampling: { ...greedy, grammar: { kind: 'gbnf', text: 'root ::= (' } } })),
    ).rejects.toMatchObject({ kind: 'invalid', code: 'invalid_grammar' })
    const first = (await answerOf(engine, requestOf(prompt, { topLogprobs: 1, maxTokens: 1 }))).events.find(
      (event) => event.type === 'text',
    )
    const token = first?.type === 'text' ? (first.tokens[0]?.id ?? 0) : 0
    const barred = await answerOf(
      engine,
      requestOf(prompt, { topLogprobs: 1, maxTokens: 1, sampling: { ...greedy, logitBias: [{ token, bias: -100 }] } }),
    )
    const other = barred.events.find((event) => event.type === 'text')
    expect(other?.type === 'text' && other.tokens[0]?.id).not.toBe(token)
  })

  it('returns log probabilities that add up', async () => {
    const { events } = await answerOf(
      engine,
      requestOf(ask('What is in this image?', imageNumber(4)), { topLogprobs: 840 }),
    )
    const tokens = events.flatMap((event) => (event.type === 'text' ? event.tokens : []))
    expect(tokens.length).toBeGreaterThan(2)
    for (const token of tokens) {
      const sum = token.top.reduce((total, { logprob }) => total + Math.exp(logprob), 0)
      expect(sum).toBeCloseTo(1, 4)
      expect(token.top[0]?.id).toBe(token.id)
    }
  })

  it('refuses a prompt that does not fit, with the tokens of text and of images', async () => {
    const prompt = ask('word '.repeat(5000), imageNumber(0), imageNumber(1))
    await expect(answerOf(engine, requestOf(prompt))).rejects.toMatchObject({
      kind: 'invalid',
      code: 'context_length_exceeded',
      message: expect.stringMatching(/4096 tokens.*of text and 144 of 2 images/),
    })
    const wide = requestOf(ask('Hello'), { maxTokens: 100_000 })
    await expect(answerOf(engine, wide)).rejects.toMatchObject({ code: 'context_length_exceeded' })
    expect((await answerOf(engine, { ...wide, overflow: 'truncate' })).reasons).toEqual(['stop'])
  })
})

describe('a preview', () => {
  it('takes the pixels, also of an image that was let go', async () => {
    const image = square([1, 2, 3])
    const [view] = await engine.preview(image, 1e6)
    expect([view?.width, view?.height, view?.rgb.length]).toEqual([128, 128, 128 * 128 * 3])
    expect(image.pixels.rgb).toHaveLength(0)
    await expect(engine.preview(image, 1e6)).rejects.toMatchObject({ kind: 'cancelled' })
  })

  it('is refused for more pixels than it may have', async () => {
    const refusal = { kind: 'too_large', code: 'preview_too_large' }
    await expect(engine.preview(square([1, 2, 3]), 128 * 128 - 1)).rejects.toMatchObject(refusal)
    await expect(engine.preview(square([1, 2, 3]), 128 * 128)).resolves.toHaveLength(1)
  })

  it('ends with the engine', async () => {
    const own = await startPocket()
    const asked = own.preview(square([1, 2, 3]), 1e6)
    const outcome = expect(asked).rejects.toMatchObject({ code: 'shutting_down' })
    await own.close()
    await outcome
    await expect(own.preview(square([1, 2, 3]), 1e6)).rejects.toMatchObject({ code: 'shutting_down' })
  })
})

describe('the caches', () => {
  it('computes a prompt once: a repeated prompt computes one token', async () => {
    const request = requestOf(ask('What color is the background?', square([1, 2, 3])))
    const [first, again] = [await answerOf(engine, request), await answerOf(engine, request)]
    expect(again.texts).toEqual(first.texts)
    expect(again.prompt.cachedTokens).toBe(again.prompt.promptTokens - 1)
  })

  it('encodes an image once, whatever the prompt around it', async () => {
    const seen = square([9, 8, 7])
    await answerOf(engine, requestOf(ask('Describe the image.', seen)))
    const { events } = await answerOf(
      engine,
      requestOf([{ kind: 'text', text: 'Look: ', special: true }, ...ask('Describe the image.', seen)]),
    )
    const done = events.at(-1)
    expect(done?.type === 'done' && done.timings.encode).toBe(0)
  })

  it('does not share prefixes between isolation keys, nor with a request that opts out', async () => {
    const prompt = ask('Describe the image.', square([4, 5, 6]))
    await answerOf(engine, requestOf(prompt, { cacheKey: 'alice' }))
    expect((await answerOf(engine, requestOf(prompt, { cacheKey: 'bob' }))).prompt.cachedTokens).toBe(0)
    expect(
      (await answerOf(engine, requestOf(prompt, { cacheKey: 'alice', cachePrompt: false }))).prompt.cachedTokens,
    ).toBe(0)
    expect((await answerOf(engine, requestOf(prompt, { cacheKey: 'alice' }))).prompt.cachedTokens).toBeGreaterThan(20)
  })

  it('restores a prefix that was evicted from the KV memory, and answers as before', async () => {
    const small = await startPocket({ contextCells: 512 })
    try {
      const about = (i: number) =>
        requestOf(ask(`What is in image ${i}? ${'Look at it. '.repeat(5)}`, imageNumber(i)), { topLogprobs: 3 })
      const chances = ({ events }: Answer) =>
        events.flatMap((event) => (event.type === 'text' ? event.tokens.map(({ logprob }) => logprob) : []))
      await answerOf(small, about(0))
      // Read from the KV memory in place: its last token alone is another batch than the whole prompt.
      const first = await answerOf(small, about(0))
      for (let i = 1; i < 6; i++) await answerOf(small, about(i))
      expect((await small.state()).shelvedBytes).toBeGreaterThan(0)
      const again = await answerOf(small, about(0))
      expect(again.prompt.cachedTokens).toBe(again.prompt.promptTokens - 1)
      const { promptTokens } = again.prompt
      expect({ promptTokens, texts: again.texts }).toEqual({
        promptTokens: first.prompt.promptTokens,
        texts: first.texts,
      })
      // The cells may lie in another order now, in which attention adds them up.
      for (const [at, chance] of chances(again).entries()) expect(chance).toBeCloseTo(chances(first)[at] ?? NaN, 3)
    } finally {
      await small.close()
    }
  })

  it('encodes an image again for another isolation key', async () => {
    const encoded = async (cacheKey: string) => {
      const { events } = await answerOf(engine, requestOf(ask('What is it?', square([9, 99, 9], 80)), { cacheKey }))
      const done = events.at(-1)
      return done?.type === 'done' && done.timings.encode > 0
    }
    expect([await encoded('carol'), await encoded('carol'), await encoded('dave')]).toEqual([true, false, true])
  })

  it('uses no more of a cached prefix than cachedMost', async () => {
    const prompt = ask('Describe the image.', square([40, 50, 60]))
    await answerOf(engine, requestOf(prompt, { cacheKey: 'most' }))
    for (const cachedMost of [7, 0, 1000]) {
      const { prompt: usage } = await answerOf(engine, requestOf(prompt, { cacheKey: 'most', cachedMost }))
      expect(usage.cachedTokens).toBe(Math.min(cachedMost, usage.promptTokens - 1))
    }
  })

  it('gives the same answer with and without a cache', async () => {
    const prompt = ask('What is in this image?', square([200, 10, 10], 80))
    const cold = await answerOf(engine, requestOf(prompt, { cachePrompt: false }))
    await answerOf(engine, requestOf(ask('What shape is it?', square([200, 10, 10], 80))))
    const warm = await answerOf(engine, requestOf(prompt))
    // At least the image.
    expect(warm.prompt.cachedTokens).toBeGreaterThan(warm.prompt.attachmentTokens[0] ?? Infinity)
    expect(warm.texts).toEqual(cold.texts)
  })
})

describe('many requests at once', () => {
  it.skipIf(shortRun)('gives each of 32 images the same answer as alone', async () => {
    const requests = Array.from({ length: 32 }, (_, i) =>
      requestOf(ask('What is in this image?', imageNumber(i)), { cachePrompt: false }),
    )
    const alone: string[] = []
    for (const request of requests) alone.push((await answerOf(engine, request)).texts[0] ?? '')
    const crowd = await Promise.all(requests.map((request) => answerOf(engine, request)))
    const same = crowd.filter(({ texts }, i) => texts[0] === alone[i]).length
    // A batch of another shape may move a logit in its last digits.
    expect(same).toBeGreaterThanOrEqual(31)
    expect(new Set(alone).size).toBeGreaterThan(1)
  })

  it('makes n answers to one prompt', async () => {
    const { texts, prompt } = await answerOf(
      engine,
      requestOf(ask('Describe the image.', imageNumber(5)), { n: 4, sampling: { ...greedy, temperature: 4, seed: 3 } }),
    )
    expect(texts).toHaveLength(4)
    expect(new Set(texts).size).toBeGreaterThan(1)
    expect(prompt.promptTokens).toBeLessThan(100)
    await expect(answerOf(engine, requestOf(ask('Hi'), { n: 33 }))).rejects.toMatchObject({
      kind: 'invalid',
      param: 'n',
      message: 'This model generates at most 32 answers to a prompt; found 33.',
    })
  })

  it.skipIf(shortRun)('completes other requests when some are cancelled at any moment', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, async (_, i) => {
        const abort = new AbortController()
        if (i % 3 === 0) setTimeout(() => abort.abort(), i)
        return answerOf(
          engine,
          requestOf(ask('Describe the image.', square([i, i, 255 - i])), {
            ignoreEos: i % 3 === 0,
            maxTokens: i % 3 === 0 ? 2000 : 48,
          }),
          abort.signal,
        )
      }),
    )
    outcomes.forEach((outcome, i) => {
      if (i % 3 !== 0) expect(outcome.status).toBe('fulfilled')
      else expect(outcome).toMatchObject({ status: 'rejected', reason: { kind: 'cancelled' } })
    })
    expect((await answerOf(engine, requestOf(ask('Hello')))).reasons).toEqual(['stop'])
  })

  it('preempts sequences when the KV memory is full, and no answer loses a token', async () => {
    const small = await startPocket({ contextCells: 512, maxSequences: 8 })
    try {
      const request = (i: number) =>
        requestOf(ask('Describe the image.', imageNumber(i)), { ignoreEos: true, maxTokens: 150 })
      const alone = await answerOf(small, request(0))
      const crowd = await Promise.all(Array.from({ length: 8 }, (_, i) => answerOf(small, request(i))))
      for (const { events } of crowd)
        expect(events.find((event) => event.type === 'end')).toMatchObject({ completionTokens: 150, reason: 'length' })
      expect(crowd[0]?.texts[0]?.slice(0, 20)).toBe(alone.texts[0]?.slice(0, 20))
    } finally {
      await small.close()
    }
  })

  it('refuses requests when the queue is full', async () => {
    const small = await startPocket({ maxSequences: 1, maxQueue: 2 })
    try {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, () =>
          answerOf(small, requestOf(ask('Hello'), { ignoreEos: true, maxTokens: 200, cachePrompt: false })),
        ),
      )
      const refused = outcomes.filter(({ status }) => status === 'rejected')
      expect(refused.length).toBeGreaterThanOrEqual(4)
      for (const outcome of refused) expect(outcome).toMatchObject({ reason: { kind: 'overloaded', retryAfter: 1 } })
    } finally {
      await small.close()
    }
  })
})

describe('settings', () => {
  it.each<Partial<EngineSettings>>([
    { chunkTokens: 1 },
    { contextCells: 64, maxSequences: 192 },
    { chunkTokens: 16, kvType: 'q8_0' },
    { chunkTokens: 5000, flashAttention: false },
  ])('%o give the same answer as the defaults', async (settings) => {
    const request = requestOf(ask('What is in this image?', imageNumber(4)))
    const other = await startPocket(settings)
    try {
      expect((await answerOf(other, request)).texts).toEqual((await answerOf(engine, request)).texts)
    } finally {
      await other.close()
    }
  })
})
