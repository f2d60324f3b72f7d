import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oriel } from '../support/cli.ts'
import { plainPdf } from './plain-pdf.ts'

describe('oriel ask about a document', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-ask-'))
    await writeFile(join(folder, 'two.pdf'), plainPdf(2))
    await writeFile(join(folder, 'five.pdf'), plainPdf(5))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const ask = (...words: string[]) => oriel(['ask', ...words], { cwd: folder })

  it('answers about all pages, or about the selected pages', async () => {
    expect(await ask('two.pdf', 'What is this?')).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^A \w+ square on a white background\.\n$/),
      stderr: '',
    })
    expect(await ask('--pages', '2,4-5', 'five.pdf', 'What is this?')).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^The \w+ image shows a \w+ square\.\n$/),
      stderr: '',
    })
    expect(await ask('--pages', '6', 'five.pdf', '--batch', '4', 'What is this?')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^oriel: five\.pdf: The request selects 5 of the file's 5 pages; at most 4 images/),
    })
  })

  it('asks about a longer document in parts, and then about the answers of the parts', async () => {
    const { code, stdout } = await ask('--batch', '2', 'two.pdf', 'five.pdf', 'What is this?')
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
    for (const answer of answers.slice(0, -1)) expect(answer).toMatch(/^A \w+ square .*on a white background\.$/)
    // The last question is about text.
    expect(answers.at(-1)).toMatch(/^I do not see an image/)
  })
})
