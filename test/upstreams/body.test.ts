import fc from 'fast-check'
import { expect, it } from 'vitest'
import { jsonBody } from '../../src/upstreams/body.ts'
import { inputs } from '../support/long.ts'

it('a body is the JSON of JSON.stringify, however long it is', async () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary', minLength: 1 }).map((piece) => piece.repeat(Math.ceil(70_000 / piece.length))),
  )
  const value = fc.object({ values: [text, fc.double(), fc.boolean(), fc.constant(null)], withNullPrototype: false })
  const shown = (json: unknown): unknown => JSON.parse(String(json))
  await fc.assert(
    fc.asyncProperty(value, async (given) => {
      const body = jsonBody(given)
      expect(shown(Buffer.concat(await body.chunks()))).toEqual(shown(JSON.stringify(given)))
      expect(shown(body)).toEqual(shown(JSON.stringify(given)))
    }),
    { numRuns: inputs(10, 100) },
  )
  const many = {
    messages: Array.from({ length: 3000 }, (_, index) => ({ role: 'user', content: `${index}` })),
    no: undefined,
  }
  expect(String(Buffer.concat(await jsonBody(many).chunks()))).toBe(JSON.stringify(many))
})

it('others have their turns while a body of megabytes is written', async () => {
  let [turns, isOver] = [0, false]
  const count = (): void => {
    turns++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  const chunks = await jsonBody({ texts: Array.from({ length: 100 }, () => 'word '.repeat(20_000)) }).chunks()
  isOver = true
  expect(Buffer.concat(chunks).length).toBeGreaterThan(1e7)
  expect(turns).toBeGreaterThan(50)
})
