import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cleaned, failureOf } from '../../../src/upstreams/wire/failures.ts'
import { received } from './upstream.ts'

const failing = (...answer: Parameters<typeof received>) => failureOf(received(...answer))

const faulty = { elsewhere: true, isFault: true }
const refused = { elsewhere: false, isFault: false }

test.each([
  [400, 'invalid', refused],
  [401, 'engine_failed', faulty],
  [402, 'engine_failed', faulty],
  [403, 'engine_failed', faulty],
  [404, 'engine_failed', faulty],
  [408, 'engine_failed', faulty],
  [413, 'too_large', refused],
  [415, 'invalid', refused],
  [422, 'invalid', refused],
  [429, 'overloaded', { elsewhere: true, isFault: false, retryAfterMs: 1000 }],
  [500, 'engine_failed', refused],
  [501, 'not_implemented', refused],
  [502, 'engine_failed', faulty],
  [503, 'engine_failed', faulty],
  [504, 'engine_failed', faulty],
  [529, 'overloaded', { elsewhere: true, isFault: false }],
  [302, 'engine_failed', faulty],
])('the status %i of an upstream is %s here', async (status, kind, flags) => {
  expect(await failing(status, {})).toMatchObject({ error: { kind }, ...flags })
})

test.each([
  [{ error: { message: 'top_k must be positive.', type: 'invalid_request_error' } }],
  [{ type: 'error', error: { type: 'invalid_request_error', message: 'top_k must be positive.' } }],
  [{ object: 'error', message: 'top_k must be positive.', code: 400 }],
  [{ code: 400, reason: 'INVALID', message: 'top_k must be positive.', metadata: {} }],
  [{ error: 'top_k must be positive.' }],
  [{ detail: 'top_k must be positive.' }],
])('passes on what an upstream says of the request: %o', async (body) => {
  const { error } = await failing(400, body)
  expect(error.message).toBe("This model's server refused the request: top_k must be positive.")
})

test('names the part that FastAPI finds wrong', async () => {
  const { error } = await failing(422, { detail: [{ loc: ['body', 'top_k'], msg: 'Input should be a number' }] })
  expect(error.message).toContain('top_k: Input should be a number')
})

test('says nothing to clients of what is wrong between the two servers', async () => {
  for (const status of [401, 403, 404, 500, 502]) {
    const { error } = await failing(status, { error: { message: 'Incorrect API key provided: sk-abcdef123456' } })
    expect(error.message).not.toContain('key')
    expect(error.param).toBeUndefined()
    expect(String(error.cause ?? '')).not.toContain('abcdef')
  }
})

test.each([
  "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
  'the request exceeds the available context size, try increasing it',
  'prompt is too long: 210000 tokens > 200000 maximum',
])('knows that a prompt is too long: %s', async (message) => {
  expect(await failing(400, { error: { message } })).toMatchObject({
    error: { kind: 'invalid', code: 'context_length_exceeded', param: 'prompt' },
  })
})

test('waits as long as the upstream wants, within reason', async () => {
  expect(await failing(429, {}, { 'retry-after': '7' })).toMatchObject({ retryAfterMs: 7000, error: { retryAfter: 7 } })
  expect(await failing(429, {}, { 'retry-after-ms': '1500' })).toMatchObject({ retryAfterMs: 1500 })
  expect(await failing(503, {}, { 'retry-after': '2' })).toMatchObject({
    isFault: false,
    error: { kind: 'overloaded' },
  })
  expect(await failing(429, {}, { 'retry-after': '86400' })).toMatchObject({ retryAfterMs: 600_000 })
  expect(await failing(429, {}, { 'retry-after': 'soon' })).toMatchObject({ retryAfterMs: 1000 })
  expect((await failing(429, {}, { 'retry-after': '7' })).isGuess).toBe(false)
  for (const headers of [{}, { 'retry-after': 'soon' }]) expect((await failing(429, {}, headers)).isGuess).toBe(true)
  const at = new Date(Date.now() + 30_000).toUTCString()
  expect((await failing(429, {}, { 'retry-after': at })).retryAfterMs).toBeGreaterThan(20_000)
})

test.each([
  'http://10.0.0.5:8000/v1/models',
  '10.0.0.5',
  '10.0.0.5:8000',
  '[fe80::1]:8000',
  'fe80::1ff:fe23:4567:890a',
  'worker-3:8000',
  'vllm.default.svc.cluster.local',
  '/home/user/models/a.gguf',
  'C:\\models\\a.gguf',
  'data:image/png;base64,iVBORw0KGgo',
  'sk-proj-abcdef123456',
  'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9abcdefghijklmnop',
])('leaves %s out of what clients read', (inner) => {
  expect(cleaned(`It failed (${inner}) here.`)).toMatch(/^It failed \(?…\)?\.?\)? here\.$/)
})

test('an error is one line of bounded length, whatever the upstream says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 3000 }), fc.integer({ min: 300, max: 599 }), async (text, status) => {
      const { error } = await failing(status, { error: { message: text } })
      expect(error.message.length).toBeLessThan(500)
      expect(error.message).not.toMatch(/[\n\r]/)
    }),
    { numRuns: 200 },
  )
})

test('cleans long texts in no time', () => {
  for (const text of [':'.repeat(1e6), 'a.'.repeat(1e6), '/a'.repeat(1e6), '1'.repeat(1e6)]) {
    const start = performance.now()
    cleaned(text)
    expect(performance.now() - start).toBeLessThan(200)
  }
})
