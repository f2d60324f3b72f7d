import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../../src/errors.ts'
import { loadConfig } from '../../../src/load-config.ts'
import { Packer } from '../../../src/tuning/index.ts'
import { jsonl, textExample } from '../../support/examples.ts'
import { dataUrl, shape } from '../../support/images.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-packer-'))
const file = path.join(folder, 'set', 'data.jsonl')
const packer = new Packer(file, loadConfig({}, {}))
let png: Buffer
let jpeg: Buffer

beforeAll(async () => {
  png = await shape('red')
  jpeg = await sharp(png)
    .jpeg()
    .withExif({ IFD0: { Copyright: 'me' } })
    .toBuffer()
  mkdirSync(path.join(folder, 'set', 'images'), { recursive: true })
  const put = (name: string, bytes: Buffer | string) => writeFileSync(path.join(folder, 'set', name), bytes)
  put('images/a.png', png)
  put('b.jpg', jpeg)
  put('c.webp', await sharp(png).webp({ lossless: true }).toBuffer())
  put('cut.png', png.subarray(0, 100))
  put('note.txt', 'a note')
  writeFileSync(path.join(folder, 'private.png'), png)
  symlinkSync(path.join(folder, 'private.png'), path.join(folder, 'set', 'link.png'))
})
afterAll(async () => {
  await packer.close()
  rmSync(folder, { recursive: true })
})

const asking = (image_url: unknown) => ({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url }] }] })
const packed = async (image_url: unknown): Promise<unknown> => {
  const { messages } = (await packer.pack(asking(image_url))) as ReturnType<typeof asking>
  return messages[0]?.content[0]?.image_url
}
const message = async (name: string): Promise<string> =>
  packer.pack(asking({ url: name })).then(
    () => 'it is packed',
    (error: unknown) => (error instanceof OrielError ? error.message : String(error)),
  )

describe('the pictures of a dataset on this machine', () => {
  it('are put into its lines as they are, with all that the user gave them', async () => {
    expect(await packed({ url: 'images/a.png', detail: 'low' })).toEqual({ url: dataUrl(png), detail: 'low' })
    expect(await packed('./b.jpg')).toBe(dataUrl(jpeg, 'image/jpeg'))
    expect(await packed(path.join(folder, 'set', 'b.jpg'))).toBe(dataUrl(jpeg, 'image/jpeg'))
  })

  it('become PNG or JPEG if they have another format', async () => {
    const url = String(await packed('c.webp'))
    expect(url).toMatch(/^data:image\/png;base64,/)
    const pixels = (bytes: Buffer) => sharp(bytes).removeAlpha().raw().toBuffer()
    expect((await pixels(Buffer.from(url.split(',')[1] ?? '', 'base64'))).equals(await pixels(png))).toBe(true)
  })

  it('stay what they are if they are URLs, and lines stay if they name none', async () => {
    for (const url of ['data:image/png;base64,AAAA', 'https://example.com/a.png', 'file:///etc/passwd'])
      expect(await packed(url)).toBe(url)
    for (const line of [textExample('a'), { messages: 3 }, [], null]) expect(await packer.pack(line)).toBe(line)
  })

  it('are refused when they are missing, elsewhere, or no pictures', async () => {
    const at = 'messages[0].content[0].image_url.url'
    expect(await message('d.png')).toBe(`${at} is "d.png"; there is no such file.`)
    expect(await message('images')).toBe(`${at} is "images"; there is no such file.`)
    for (const name of ['../private.png', 'link.png', path.join(folder, 'private.png')])
      expect(await message(name)).toBe(
        `${at} is ${JSON.stringify(name)}; pictures must be below the folder of the dataset.`,
      )
    expect(await message('cut.png')).toMatch(/cannot be packed. The image cannot be decoded: its png data is damaged/)
    expect(await message('note.txt')).toMatch(
      /cannot be packed. The image cannot be decoded: the data is in an unknown/,
    )
  })

  it('are packed line by line, and an error names its line', async () => {
    const lines = async (): Promise<string[]> => {
      const all: string[] = []
      for await (const line of packer.lines()) all.push(line)
      return all
    }
    writeFileSync(file, `${jsonl([textExample('a')])}nonsense\n\n${jsonl([asking('images/a.png')])}`)
    // The empty line stays, so that the server counts lines as a person does.
    expect(await lines()).toEqual([jsonl([textExample('a')]), 'nonsense\n', `\n${jsonl([asking(dataUrl(png))])}`])
    writeFileSync(file, jsonl([textExample('a'), asking('none.png')]))
    await expect(lines()).rejects.toThrow(
      'line 2: messages[0].content[0].image_url is "none.png"; there is no such file.',
    )
  })
})
