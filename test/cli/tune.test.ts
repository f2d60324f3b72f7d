import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { curve } from '../../src/cli/curve.ts'
import { oriel, orielHere } from '../support/cli.ts'
import { jsonl, textExample } from '../support/examples.ts'
import { shortRun } from '../support/long.ts'
import { fakeTrainer } from '../support/tuning.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-tune-'))
const env = {
  ORIEL_MODELS_DIR: path.join(folder, 'models'),
  ORIEL_DATA_DIR: path.join(folder, 'data'),
  XDG_CACHE_HOME: path.join(folder, 'cache'),
  ORIEL_TRAINER: fakeTrainer().join(','),
}
const file = path.join(folder, 'My chats.jsonl')
writeFileSync(file, jsonl([1, 2, 3].map((at) => textExample(`What is ${at}?`))))
afterAll(() => rmSync(folder, { recursive: true }))

describe('oriel tune', () => {
  it.skipIf(shortRun)('trains without a server, draws the loss, and says how to ask the adapter', async () => {
    const { code, stdout, stderr } = await oriel(['tune', file, '--base', 'pocket', '--trainer', 'external'], { env })
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(stdout).toMatch(/^2\.00 │█/)
    expect(stdout).toContain('The adapter my-chats is ready: 20 steps, loss 0.100, evaluation loss 0.150, ')
    expect(stdout).toContain('Ask it: oriel ask --model pocket#my-chats photo.jpg')
    const asked = await oriel(['ask', '--model', 'pocket#my-chats', 'examples/sample.png', 'What is it?'], { env })
    expect(asked.code).toBe(0)
    const again = await oriel(['tune', file, '--base', 'pocket', '--trainer', 'external'], { env })
    expect(again.stderr).toContain('There is a model with the name my-chats. Name the adapter with --name.')
  })

  it('says what is missing, and what a dataset has that cannot be used', async () => {
    expect((await orielHere(['tune'], env)).stderr).toContain('Name a dataset')
    expect((await orielHere(['tune', file, '--rank', '3'], env)).stderr).toContain('from 4 to 64')
    const wrong = path.join(folder, 'wrong.jsonl')
    writeFileSync(wrong, '{}\n{}\n{}\n')
    const { code, stderr } = await oriel(['tune', wrong, '--base', 'pocket', '--name', 'other'], { env })
    expect(code).toBe(1)
    expect(stderr).toMatch(/line 1: messages/)
  })
})

describe('the curve of a loss', () => {
  it('has the mean of neighbours where there is not enough space, and a scale', () => {
    expect(curve([4, 2, 1], 40, 2)).toBe('4.00 │█\n   0 │██▄\n')
    const wide = curve(
      Array.from({ length: 1000 }, () => 1),
      40,
      1,
    )
    expect(wide.length).toBeLessThanOrEqual(41)
    expect(curve([], 40)).toBe('')
  })
})
