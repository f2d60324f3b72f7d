import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oriel } from '../support/cli.ts'
import { shortRun } from '../support/long.ts'
import { plainPdf } from './plain-pdf.ts'

/** Pages with a number below the square are not of Pocket's world, but it knows the colour of a square. */
const question = 'Which color is the square?'

describe('oriel ask about a document', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-ask-'))
    await writeFile(join(folder, 'two.pdf'), plainPdf(2))
    await writeFile(join(folder, 'five.pdf'), plainPdf(5))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const ask = (...words: string[]) => oriel(['ask', ...words], { cwd: folder })

  it.skipIf(shortRun)('answers about all pages, or about the selected pages', async () => {
    expect(await ask('two.pdf', question)).toEqual({
      code: 0,
      stdout: 'The square is purple.\n',
      stderr: '',
    })
    expect(await ask('--pages', '2,4-5', 'five.pdf', question)).toEqual({
      code: 0,
      stdout: 'The square is red.\n',
      stderr: '',
    })
    expect(await ask('--pages', '6', 'five.pdf', '--batch', '4', 'What is this?')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^oriel: five\.pdf: The request selects 5 of the file's 5 pages; at most 4 images/),
    })
  })

  it.skipIf(shortRun)('asks about a longer document in parts, and then about the answers of the parts', async () => {
    const { code, stdout } = await ask('--batch', '2', 'two.pdf', 'five.pdf', question)
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.filter((_, index) => index % 2 === 0)).toEqual([
      'two.pdf, pages 1-2:',
      'five.pdf, pages 1-2:',
      'five.pdf, pages 3-4:',
      'five.pdf, page 5:',
      'In all:',
    ])
    const answers = lines.filter((_, index) => index % 2 === 1)
    expect(answers).toHaveLength(5)
    for (const answer of answers.slice(0, -1)) expect(answer).toMatch(/^The square is (purple|red)\.$/)
    // The last question has no image: Pocket says so, in one way or another.
    expect(answers.at(-1)).toMatch(/^(I only know shapes|I do not see an image|There is no square)/)
  })
})
