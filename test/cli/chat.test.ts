import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../support/cli.ts'
import { atTerminal, ctrlC, ctrlD, hasTerminals } from '../support/terminal.ts'

const question = 'What is in this image?'
const red = 'A red circle on a white background.'

let home: string
beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'oriel-chat-'))
  await copyFile(`${root}examples/sample.png`, path.join(home, 'a red one.png'))
})
afterAll(() => rm(home, { recursive: true }))

describe.skipIf(!hasTerminals)('oriel ask without a question, at a terminal', () => {
  it('is a conversation with images by their path, as terminals write what is dragged into them', async () => {
    const { code, shown } = await atTerminal(
      ['ask'],
      [
        ['> ', '/help\r'],
        ['> ', `${question} '${home}/a red one.png' \r`],
        [red, ''],
        ['> ', `${home}/a\\ red\\ one.png\r`],
        ['ask about it', ''],
        ['> ', `${question}\r`],
        [red, ''],
        ['> ', '/clear\r'],
        ['forgotten', ''],
        ['> ', '/file nothing.png\r'],
        ['There is no file nothing.png', ''],
        ['> ', '/nonsense\r'],
        ['There is no /nonsense', ''],
        ['> ', ctrlC],
        ['Ctrl-D or /exit leaves', ''],
        ['> ', ctrlD],
      ],
      { HOME: home },
    )
    expect(code, shown).toBe(0)
    expect(shown).toContain('Ctrl-C stops an answer.')
    expect(await readFile(path.join(home, '.oriel/history'), 'utf8')).toContain(question)
  })

  it('ends at Ctrl-D during an answer as it does between two', async () => {
    const { code, shown } = await atTerminal(['ask'], [['> ', `${question}\r${ctrlD}`]], { HOME: home })
    expect(code, shown).toBe(0)
    expect(shown).not.toMatch(/oriel: |readline/)
  })

  it('takes what stands between words for a part of the question, and for a folder after /file', async () => {
    const { code, shown } = await atTerminal(
      ['ask'],
      [
        ['> ', 'Is it red / green . or ... what?\r'],
        ['> ', `/file .\r`],
        ['a red one.png: ask about it.', ''],
        ['> ', '/exit\r'],
      ],
      { HOME: home },
      home,
    )
    expect(code, shown).toBe(0)
    expect(shown).not.toContain('The folder')
  })

  it('begins with the images that are named', async () => {
    const { code, shown } = await atTerminal(
      ['ask', 'examples/sample.png'],
      [
        ['> ', `${question}\r`],
        [red, ''],
        ['> ', '/exit\r'],
      ],
      { HOME: home },
    )
    expect(code, shown).toBe(0)
  })

  it('has a log for a person', async () => {
    const keys = [['curl ', ctrlC]] as const
    const env = { ORIEL_PROT: '1', NO_COLOR: '1' }
    const lines = await atTerminal(['serve', '--port', '0'], keys, env)
    expect(lines.shown).toMatch(/^\[\d\d:\d\d:\d\d\] WARN: ORIEL_PROT is not a setting/m)
    const json = await atTerminal(['serve', '--port', '0'], keys, { ...env, ORIEL_LOG_FORMAT: 'json' })
    expect(json.shown).toMatch(/^\{"level":40,.*ORIEL_PROT is not a setting/m)
    for (const { shown } of [lines, json]) expect(shown).not.toContain('decoder')
  })
})
