import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inputs } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { askAll, isRight, readHeldOut } from './held-out.ts'

const heldOut = readHeldOut()

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

/** Skills that `npm run pocket:eval` measures, with the accuracy that the model card promises. */
const promises: [skill: string, share: number][] = [
  ['one shape: colour', 0.95],
  ['one shape: shape', 0.95],
  ['one shape: background', 0.95],
  ['one of the newer shapes: shape', 0.95],
  ['colours', 0.95],
  ['shapes', 0.95],
  ['counts 1-9', 0.95],
  ['places', 0.95],
  ['relations', 0.88],
  ['counts of a kind', 0.85],
  ['inside', 0.9],
  ['charts: highest and largest', 0.9],
  ['charts: how many', 0.9],
  ['captions', 0.9],
  ['picture order', 0.9],
  ['several turns', 0.95],
  ['system prompt', 0.95],
  ['refusals: photographs', 0.95],
  ['refusals: not in the picture', 0.95],
  ['no picture', 0.9],
]

/** Something of each kind of question. */
const few = ['colours', 'shapes', 'counts 1-9', 'relations', 'charts: how many', 'captions', 'refusals: photographs']

describe('the built-in model, on held-out images', () => {
  it.each(
    inputs(
      promises.filter(([skill]) => few.includes(skill)),
      promises,
    ),
  )(
    'answers questions of the skill "%s" with an accuracy of at least %d',
    async (skill, share) => {
      const cases = heldOut.cases.filter((one) => one.skill === skill)
      const wrong = (await askAll(server.url, { ...heldOut, cases })).filter((one) => !isRight(one))
      const right = cases.length - wrong.length
      process.stdout.write(`${skill}: ${right} of ${cases.length} right\n`)
      const listed = wrong.map(({ said, answer }) => `${said} (${answer})`).join('\n')
      expect(right / cases.length, listed).toBeGreaterThanOrEqual(share)
    },
    600_000,
  )
})
