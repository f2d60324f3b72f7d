import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { make, missingEncoder, prepare } from './corpus.ts'
import { openMedia } from './media.ts'
import { distance, type Pixels, sources, width } from './sources.ts'

const missing = missingEncoder()
const played = [sources.flat, sources.frame1, sources.frame2, sources.frame3]
const documentOf = 'tiffcp -c zip flat.tif frame1.tif frame2.tif frame3.tif four.tif; tiff2pdf -z four.tif'

describe.skipIf(missing !== undefined)(`frames and pages (skipped where ${missing} is not installed)`, () => {
  const { loadOne, close } = openMedia()
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-pages-'))
    await prepare(folder)
  })
  afterAll(async () => {
    await close()
    await rm(folder, { recursive: true })
  })

  const expectPictures = (pictures: readonly Pixels[], shown: readonly Pixels[]) => {
    expect(pictures).toHaveLength(shown.length)
    for (const [index, picture] of pictures.entries())
      expect(distance(picture, shown[index] ?? picture)).toEqual({ most: 0, mean: 0 })
  }

  const files: [name: string, command: string][] = [
    ['gif', 'convert -delay 10 flat.ppm frame1.ppm frame2.ppm frame3.ppm gif:@'],
    ['gif of what changed', 'convert -delay 10 flat.ppm frame1.ppm frame2.ppm frame3.ppm -layers optimize gif:@'],
    ['webp', 'img2webp -lossless flat.png frame1.png frame2.png frame3.png -o @ >/dev/null'],
    ['apng', 'apngasm apng.png frame0.png >/dev/null; cat apng.png'],
    ['tiff', 'tiffcp flat.tif frame1.tif frame2.tif frame3.tif @'],
  ]
  it.for(files)('%s: the first by default, and what the request asks for in its order', async ([, command]) => {
    const file = await make({ command }, folder)
    const [first, second, third, last] = played as [Pixels, Pixels, Pixels, Pixels]
    expectPictures((await loadOne(file)).pictures, [first])
    expectPictures((await loadOne(file, 'all')).pictures, played)
    expectPictures((await loadOne(file, '4,1-2')).pictures, [last, first, second])
    expectPictures((await loadOne(file, 2)).pictures, [first, last])
    expectPictures((await loadOne(file, '3')).pictures, [third])
    await expect(loadOne(file, '5')).rejects.toThrow(/(page|frame) 5 is asked for, and the file has 4/)
    await expect(loadOne(file, '2-1')).rejects.toThrow(/2-1 is no range/)
    await expect(loadOne(file, 'some')).rejects.toThrow(/"some" is not understood/)
  })

  it('an animated png whose frames are smaller than its canvas, cleared and restored', async () => {
    const command = `convert -size ${width}x52 xc:white base.png; convert -size 12x9 xc:red red.png
      convert -delay 10 -size ${width}x52 xc:white -page +5+6 red.png -page +30+20 red.png gif:boxes.gif
      convert boxes.gif -coalesce png:frame-in%d.png; mkdir -p boxes; mv frame-in*.png boxes
      cd boxes; apngasm ../boxes.png frame-in0.png >/dev/null; cat ../boxes.png`
    const { pictures } = await loadOne(await make({ command }, folder), 'all')
    const gif = await loadOne(await make({ command: 'cat boxes.gif' }, folder), 'all')
    expectPictures(pictures, gif.pictures)
  })

  it('a pdf is its pages, each as large as the model can use', async () => {
    const file = await make({ command: documentOf }, folder)
    const { pictures, format } = await loadOne(file, undefined, 256)
    expect(format).toBe('pdf')
    expect(pictures.map(({ page }) => page)).toEqual([1, 2, 3, 4])
    for (const [index, { width, height, rgb }] of pictures.entries()) {
      expect(Math.max(width, height)).toBeLessThanOrEqual(512)
      const at = (Math.floor(height / 6) * width + Math.floor(width / 8)) * 3
      expect(Array.from(rgb.subarray(at, at + 3))).toEqual(Array.from(played[index]?.rgb.subarray(0, 3) ?? []))
    }
    expect((await loadOne(file, '2,4')).pictures.map(({ page }) => page)).toEqual([2, 4])
  })

  it('a pdf of more pages than pictures are allowed: the error says how to choose', async () => {
    const command = `${documentOf} >four.pdf; qpdf --empty --pages $(yes four.pdf | head -8) -- @`
    const file = await make({ command }, folder)
    await expect(loadOne(file)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'too_many_images',
      message: expect.stringMatching(/32 pages.*30 pictures are allowed.*extension "pages".*"pages": "1-30"/),
    })
    expect((await loadOne(file, '31-32')).pictures).toHaveLength(2)
    expect((await loadOne(file, 3)).pictures.map(({ page }) => page)).toEqual([1, 17, 32])
  })

  it('a pdf with a password, and a broken one', async () => {
    const locked = `${documentOf} >four.pdf; qpdf --encrypt secret owner 256 -- four.pdf @`
    await expect(loadOne(await make({ command: locked }, folder))).rejects.toMatchObject({ code: 'pdf_password' })
    const open = `${documentOf} >four.pdf; qpdf --encrypt '' owner 256 -- four.pdf @`
    expect((await loadOne(await make({ command: open }, folder))).pictures).toHaveLength(4)
    const broken = `${documentOf} >four.pdf; head -c 700 four.pdf`
    await expect(loadOne(await make({ command: broken }, folder))).rejects.toMatchObject({ kind: 'unreadable_media' })
  })
})
