import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ResourceStore } from '../../../src/deployments/index.ts'
import { OrielError } from '../../../src/errors.ts'
import { createLogger } from '../../../src/log.ts'
import { exampleLine } from '../../../src/tuning/contract.ts'
import { checkFile } from '../../../src/tuning/datasets/check.ts'
import { Datasets } from '../../../src/tuning/datasets/datasets.ts'
import { SeenHashes } from '../../../src/tuning/datasets/seen-hashes.ts'
import { DatasetStorage, type Source } from '../../../src/tuning/datasets/storage.ts'
import { jsonl, pictureExample, textExample } from '../../support/examples.ts'
import { shape } from '../../support/images.ts'
import { memoryResources } from '../../support/memory-resources.ts'

const limits = { lineBytes: 1e6, images: 30, pixels: 1e6, totalPixels: 1e7 }
const folders: string[] = []
const newFolder = (): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-datasets-'))
  folders.push(folder)
  return folder
}
const opened: Datasets[] = []
const open = async (
  folder = newFolder(),
  store: ResourceStore = memoryResources(),
  quota = { datasets: 3, bytes: 1e6 },
): Promise<Datasets> => {
  const datasets = await Datasets.open({ folder, store, quota, limits, log: createLogger('silent') })
  opened.push(datasets)
  return datasets
}
afterEach(() => {
  for (const datasets of opened.splice(0)) datasets.close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

const sent =
  (text: string): Source =>
  (write) =>
    write(Buffer.from(text))
const file = (text: string, name = 'data.jsonl') => ({ name, bytes: Buffer.byteLength(text) })
const { signal } = new AbortController()

let pictures: Buffer[]
beforeAll(async () => {
  pictures = await Promise.all([shape('red'), shape('blue'), shape('green')])
})
const examples = () => [...pictures, ...pictures].map((one, at) => pictureExample(one, `What is ${at}?`, 'A circle.'))

describe('datasets', () => {
  it('count what a file has when it is whole', async () => {
    const datasets = await open()
    const text = `\ufeff${jsonl([...examples(), textExample('a'), textExample('a')])}\n`
    const dataset = await datasets.add('me', { id: 'shapes' }, file(text), sent(text))
    expect(dataset).toMatchObject({ state: 'ready', file: file(text), problems: [] })
    expect(dataset.report).toEqual({
      ...{ examples: 8, turns: 16, answers: 8, images: 6, distinctImages: 3, duplicates: 1 },
      ...{ bytes: Buffer.byteLength(text), longestBytes: expect.any(Number) },
      imageBytes: pictures.reduce((sum, { length }) => sum + length, 0),
    })
    expect(await datasets.find('me', 'shapes')).toEqual(dataset)
    await expect(datasets.find('you', 'shapes')).rejects.toMatchObject({ kind: 'not_found' })
  })

  it('name each line that cannot be used, and keep what came', async () => {
    const datasets = await open()
    const text = `${jsonl([textExample('a')])}{"messages": []}\nnonsense\n${jsonl([textExample('b')])}`
    const dataset = await datasets.receive(await datasets.create('me', { id: 'bad' }), file(text), sent(text))
    await expect(datasets.finish(dataset)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'invalid_dataset',
      message:
        'The dataset bad cannot be used. line 2: messages has 0 messages; 2 to 1000 are allowed. line 3: the line is not JSON.',
    })
    expect(await datasets.find('me', 'bad')).toMatchObject({ state: 'invalid', invalid: 2 })
    // Another file may come in its place.
    const right = jsonl([1, 2, 3].map((at) => textExample(`${at}`)))
    const again = await datasets.receive(dataset, file(right), sent(right))
    expect(await datasets.finish(again)).toMatchObject({ state: 'ready', problems: [] })
    await expect(datasets.receive(dataset, file(right), sent(right))).rejects.toMatchObject({ kind: 'conflict' })
  })

  it('refuse files that are too small, lines that are too long, and what is no UTF-8', async () => {
    const folder = newFolder()
    const told = async (content: string | Buffer): Promise<string[]> => {
      writeFileSync(path.join(folder, 'a'), content)
      return (await checkFile(path.join(folder, 'a'), limits)).problems.map(({ message }) => message)
    }
    expect(await told('')).toEqual(['The dataset has 0 examples; 3 to 3000000 are allowed.'])
    expect(await told(`${'x'.repeat(1_000_001)}\n`)).toEqual([
      'the line has 1000001 bytes; 1000000 are allowed for an example.',
    ])
    expect(await told(Buffer.from([0x22, 0xff, 0x22]))).toEqual(['the line is no UTF-8.'])
  })

  it('keep to the quota of an account, and forget what did not fit', async () => {
    const datasets = await open()
    const text = jsonl([textExample('a'.repeat(600_000)), textExample('b'), textExample('c')])
    await datasets.add('me', { id: 'one' }, file(text), sent(text))
    await expect(datasets.add('me', { id: 'two' }, { name: 'a', bytes: null }, sent(text))).rejects.toMatchObject({
      kind: 'precondition_failed',
      code: 'dataset_quota',
      message: 'The datasets of this account would have 1.2 MB; 1.0 MB are allowed. Delete some.',
    })
    await expect(
      datasets.announce(await datasets.create('me', { id: 'two' }), { name: 'a', bytes: 400_000 }),
    ).rejects.toMatchObject({ code: 'dataset_quota' })
    await datasets.add('you', { id: 'two' }, file(text), sent(text))
    await datasets.create('me', { id: 'three' })
    await expect(datasets.create('me', {})).rejects.toMatchObject({ code: 'too_many_datasets' })
    await datasets.remove(await datasets.find('me', 'one'))
    expect((await datasets.list()).map(({ account, id }) => `${account}/${id}`)).toEqual([
      'me/two',
      'you/two',
      'me/three',
    ])
  })

  it('refuse a file of another size than was said', async () => {
    const datasets = await open()
    const dataset = await datasets.create('me', {})
    await expect(datasets.receive(dataset, { name: 'a.jsonl', bytes: 9 }, sent('1234'))).rejects.toThrow(
      'a.jsonl was announced with 9 bytes; found 4.',
    )
    await expect(datasets.receive(dataset, { name: 'a.jsonl', bytes: 3 }, sent('1234'))).rejects.toThrow(
      'found more than 3.',
    )
  })

  it('go on with a check that a killed server has left', async () => {
    const [folder, store] = [newFolder(), memoryResources()]
    const text = jsonl([1, 2, 3].map((at) => textExample(`${at}`)))
    const first = await open(folder, store)
    const dataset = await first.receive(await first.create('me', { id: 'a' }), file(text), sent(text))
    const lost = first.finish(dataset)
    first.close()
    await expect(lost).rejects.toMatchObject({ code: 'shutting_down' })
    const second = await open(folder, store)
    expect(await second.finish(await second.find('me', 'a'))).toMatchObject({ state: 'ready' })
  })

  it('leave nothing of files that a killed server received, or of datasets that nobody knows', async () => {
    const folder = newFolder()
    const storage = new DatasetStorage(folder)
    await storage.receive('known', sent('a'), () => {})
    await storage.receive('unknown', sent('a'), () => {})
    const put = (name: string): string => {
      writeFileSync(path.join(folder, 'known', name), 'a')
      return path.join(folder, 'known', name)
    }
    const [old] = [put('arriving-old'), put('arriving-new')]
    await storage.sweep((uid) => uid === 'known')
    expect(readdirSync(folder).sort()).toEqual(['known', 'unknown'])
    const hourAgo = Date.now() / 1000 - 3600
    for (const file of [old, path.join(folder, 'known'), path.join(folder, 'unknown')])
      utimesSync(file, hourAgo, hourAgo)
    await storage.sweep((uid) => uid === 'known')
    expect(readdirSync(folder)).toEqual(['known'])
    expect(readdirSync(path.join(folder, 'known')).sort()).toEqual(['arriving-new', 'data.jsonl'])
  })

  it('become the folder of a job, with each picture once', async () => {
    const datasets = await open()
    const text = jsonl(examples())
    const dataset = await datasets.add('me', {}, file(text), sent(text))
    const [one, two] = [newFolder(), newFolder()]
    const options = { carveOut: true, seed: 7, signal }
    expect(await datasets.writeJobFolder(dataset, { ...options, folder: one })).toEqual({ train: 5, evaluation: 1 })
    await datasets.writeJobFolder(dataset, { ...options, folder: two })
    const linesOf = (folder: string, name: string) =>
      readFileSync(path.join(folder, name), 'utf8')
        .trim()
        .split('\n')
        .map((line) => exampleLine.parse(JSON.parse(line)))
    const [train, evaluation] = [linesOf(one, 'train.jsonl'), linesOf(one, 'eval.jsonl')]
    expect(linesOf(two, 'eval.jsonl')).toEqual(evaluation)
    const questions = [...train, ...evaluation].map(({ messages }) => messages[0]?.content[1])
    expect(questions.map((part) => (part?.type === 'text' ? part.text : '')).sort()).toEqual(
      [0, 1, 2, 3, 4, 5].map((at) => `What is ${at}?`),
    )
    expect(readdirSync(path.join(one, 'images'))).toHaveLength(3)
    for (const { messages } of train) {
      const [part] = messages[0]?.content ?? []
      expect(
        part?.type === 'image' && pictures.some((picture) => picture.equals(readFileSync(path.join(one, part.image)))),
      ).toBe(true)
    }
    expect(readdirSync(one).sort()).toEqual(['eval.jsonl', 'images', 'train.jsonl'])
  })

  it('that were deleted while they were checked leave others of their id alone', async () => {
    const datasets = await open()
    const text = jsonl(examples())
    const first = await datasets.receive(await datasets.create('me', { id: 'again' }), file(text), sent(text))
    const checked = datasets.finish(first).catch((error: unknown) => error)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await datasets.remove(first)
    const second = await datasets.create('me', { id: 'again' })
    expect(await checked).toBeInstanceOf(OrielError)
    expect(await datasets.find('me', 'again')).toEqual(second)
    await expect(datasets.remove(first)).rejects.toMatchObject({ kind: 'not_found' })
  })

  it('have one line for each example, whatever characters are in it', async () => {
    const datasets = await open()
    const text = jsonl(['\u2028', '\u2029', '\u0085'].map((one) => textExample(`a${one}b`)))
    const dataset = await datasets.add('me', {}, file(text), sent(text))
    const folder = newFolder()
    await datasets.writeJobFolder(dataset, { folder, carveOut: false, seed: 1, signal })
    const written = readFileSync(path.join(folder, 'train.jsonl'), 'utf8')
    expect(written).not.toMatch(/[\u2028\u2029]/)
    expect(
      written
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).messages[0].content[0].text),
    ).toEqual(['a\u2028b', 'a\u2029b', 'a\u0085b'])
  })

  it('stay while a job reads them, and end its reading when it is cancelled', async () => {
    const datasets = await open()
    const text = jsonl(examples())
    const dataset = await datasets.add('me', {}, file(text), sent(text))
    const [folder, stop] = [newFolder(), new AbortController()]
    const writing = datasets.writeJobFolder(dataset, { folder, carveOut: false, seed: 1, signal: stop.signal })
    await expect(datasets.remove(dataset)).rejects.toMatchObject({ kind: 'conflict' })
    stop.abort()
    await expect(writing).rejects.toMatchObject({ kind: 'cancelled' })
    expect(existsSync(path.join(folder, 'train.jsonl'))).toBe(false)
    await datasets.remove(dataset)
    await expect(datasets.writeJobFolder(dataset, { folder, carveOut: false, seed: 1, signal })).rejects.toMatchObject({
      code: 'dataset_file_missing',
    })
  })
})

it('hashes are known again among fifty thousand others', () => {
  const seen = new SeenHashes(50_000)
  const hash = (text: string): Buffer => createHash('sha1').update(text).digest()
  for (let at = 0; at < 50_000; at++) expect(seen.add(hash(`${at}`))).toBe(true)
  for (let at = 0; at < 50_000; at += 97) expect(seen.add(hash(`${at}`))).toBe(false)
  // There are as many as may be: what comes now is new each time.
  for (const _ of [1, 2]) expect(seen.add(hash('another'))).toBe(true)
})
