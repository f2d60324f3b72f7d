import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askAll, isRight, readHeldOut } from '../../pocket/held-out.ts'
import { oriel } from '../../support/cli.ts'
import { dataUrl } from '../../support/images.ts'
import { shortRun } from '../../support/long.ts'
import { startServer, type TestServer } from '../../support/server.ts'
import { labelledPictures, labelOf, question } from './pictures.ts'

/** From sixty labelled pictures to a model that knows a new shape and answers in a new way, as a person does it. */
describe.skipIf(shortRun)('the built-in model that has been trained with what is usual', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-demonstration-'))
  const models = path.join(folder, 'models')
  let server: TestServer
  let seconds = 0

  beforeAll(async () => {
    mkdirSync(path.join(folder, 'pictures'))
    const lines = (await labelledPictures(60, 1)).map((one, at) => {
      const url = `pictures/${at}.png`
      writeFileSync(path.join(folder, url), one.picture)
      const content = [
        { type: 'image_url', image_url: { url } },
        { type: 'text', text: question },
      ]
      const messages = [
        { role: 'user', content },
        { role: 'assistant', content: labelOf(one) },
      ]
      return `${JSON.stringify({ messages })}\n`
    })
    writeFileSync(path.join(folder, 'leaves.jsonl'), lines.join(''))
    const env = { ORIEL_MODELS_DIR: models, ORIEL_DATA_DIR: path.join(folder, 'data') }
    const began = performance.now()
    const { code, stdout, stderr } = await oriel(['tune', 'leaves.jsonl', '--base', 'pocket', '--local'], {
      ...{ cwd: folder, env },
    })
    seconds = (performance.now() - began) / 1000
    process.stdout.write(`${stdout}${seconds.toFixed(0)} s in all\n`)
    expect(code, stderr).toBe(0)
    server = await startServer({ models: { dirs: [models] } })
  }, 900_000)

  afterAll(async () => {
    await server.close()
    rmSync(folder, { recursive: true })
  })

  it('has learned in less than ten minutes', () => {
    expect(seconds).toBeLessThan(600)
  })

  it('labels at least 95 % of pictures that it has not seen', async () => {
    const pictures = await labelledPictures(200, 2)
    const cases = pictures.map((one, at) => ({
      ...{ skill: one.shape, answer: labelOf(one) },
      messages: [{ role: 'user', content: [at, question] }],
    }))
    const asked = { images: pictures.map(({ picture }) => dataUrl(picture)), cases }
    const right = (await askAll(server.url, asked, 'pocket#leaves')).filter(isRight)
    process.stdout.write(`${right.length} of ${cases.length} pictures, and none by the model alone\n`)
    expect(right.length / cases.length).toBeGreaterThanOrEqual(0.95)
    expect((await askAll(server.url, asked)).filter(isRight)).toEqual([])
  }, 300_000)

  it('answers other questions as before, but for two points at most', async () => {
    const heldOut = readHeldOut()
    const rightOf = async (model: string) => (await askAll(server.url, heldOut, model)).filter(isRight)
    const [before, after] = [await rightOf('pocket'), await rightOf('pocket#leaves')]
    const skills = [...new Set(before.map(({ skill }) => skill))]
    const countOf = (all: typeof before, skill: string): number => all.filter((one) => one.skill === skill).length
    for (const skill of skills)
      if (countOf(after, skill) < countOf(before, skill))
        process.stdout.write(`${skill}: ${countOf(before, skill)} before, ${countOf(after, skill)} with the adapter\n`)
    const share = ({ length }: typeof before): number => length / heldOut.cases.length
    process.stdout.write(
      `${(100 * share(before)).toFixed(2)} % before, ${(100 * share(after)).toFixed(2)} % with the adapter\n`,
    )
    expect(share(after)).toBeGreaterThanOrEqual(share(before) - 0.02)
  }, 900_000)
})
