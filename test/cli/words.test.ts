import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sortWords } from '../../src/cli/words.ts'
import { shape } from '../support/images.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-words-'))
  for (const name of ['page2.png', 'page10.png', 'a photo.JPG', 'notes.txt', 'odd']) await writeFile(at(name), 'x')
  await mkdir(at('empty'))
})
afterAll(() => rm(folder, { recursive: true }))

const at = (name: string): string => path.join(folder, name)
/** stdin of a terminal, which is not read. */
const terminal = Object.assign(Readable.from([]), { isTTY: true })
const stdin = (content: string | Buffer) => Readable.from([Buffer.from(content)])
const sorted = async (words: string[], from: NodeJS.ReadableStream = terminal) => {
  const { files, question } = await sortWords(words, from)
  return { names: files.map(({ name }) => name), question }
}

describe('the words of a question', () => {
  it('are images if they are files or URLs, and the question otherwise, in any order', async () => {
    const names = [at('page2.png'), 'https://host.example/a.png', at('odd')]
    expect(await sorted(['What is it?', ...names])).toEqual({ names, question: 'What is it?' })
    expect(await sorted([...names, 'What is it?'])).toEqual({ names, question: 'What is it?' })
    expect(await sorted([names[0] ?? '', 'What', ...names.slice(1)])).toEqual({ names, question: 'What' })
  })

  it('are all images of a folder or a pattern, in the order in which a person counts', async () => {
    const names = ['a photo.JPG', 'page2.png', 'page10.png'].map(at)
    expect(await sorted([folder])).toEqual({ names, question: undefined })
    expect(await sorted([`${folder}/`])).toEqual({ names, question: undefined })
    expect(await sorted([at('page*'), 'What?'])).toEqual({ names: names.slice(1), question: 'What?' })
    expect(await sorted([at('*')])).toEqual({ names, question: undefined })
  })

  it('may have the bytes or the question from stdin', async () => {
    expect(await sorted(['-', 'What?'], stdin(await shape('red')))).toEqual({ names: ['stdin'], question: 'What?' })
    expect(await sorted(['-', 'What?'], stdin('P3 1 1 255 0 0 0'))).toEqual({ names: ['stdin'], question: 'What?' })
    const names = [at('odd')]
    expect(await sorted(['-', ...names], stdin('What is that?\n'))).toEqual({ names, question: 'What is that?' })
    expect(await sorted(names, stdin('What is that?\n'))).toEqual({ names, question: 'What is that?' })
    expect(await sorted(names, stdin(''))).toEqual({ names, question: undefined })
  })

  it('are refused if a file is missing, the question is empty, or several may be the question', async () => {
    await expect(sorted(['missing.png', 'What?'])).rejects.toThrow('There is no file missing.png.')
    await expect(sorted([at('*.webp'), 'What?'])).rejects.toThrow(/There is no file .*webp/)
    await expect(sorted([at('empty'), 'What?'])).rejects.toThrow(/The folder .*empty has no images, videos or audio/)
    await expect(sorted([at('odd'), 'What', 'is', 'it?'])).rejects.toThrow(`oriel ask ${at('odd')} "What is it?"`)
    for (const url of ['file://elsewhere/x.png', 'file:///%zz.png'])
      await expect(sorted([url, 'What?'])).rejects.toThrow(`${url} is not the URL of a file here`)
    await expect(sorted(['-', 'What?'], stdin(''))).rejects.toMatchObject({
      message: 'The word - means what stdin has, and stdin is empty.',
      code: 'empty_file',
    })
    await expect(sorted([at('odd'), ' '])).rejects.toThrow('The question is empty.')
    await expect(sorted([at('odd')], stdin('\n'))).rejects.toThrow('The question is empty.')
    await expect(sorted(['What is it?', 'And that?'])).rejects.toThrow('There are 2 questions')
  })
})
