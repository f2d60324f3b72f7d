import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { make, missingEncoder, prepare } from './corpus.ts'
import { openMedia } from './media.ts'
import { distance, type Pixels, sources, width } from './sources.ts'

const missing = missingEncoder()
const skipNote = missing === undefined ? '' : ` (skipped: ${missing} is not installed)`
const frames = [sources.flat, sources.frame1, sources.frame2, sources.frame3]
const documentOf = 'tiffcp -c zip flat.tif frame1.tif frame2.tif frame3.tif four.tif; tiff2pdf -z four.tif'

describe.skipIf(missing !== undefined)(`frames and pages${skipNote}`, () => {
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

  const expectImages = (images: readonly Pixels[], expected: readonly Pixels[]) => {
    expect(images).toHaveLength(expected.length)
    for (const [index, image] of images.entries())
      expect(distance(image, expected[index] ?? image)).toEqual({ max: 0, mean: 0 })
  }

  const files: [name: string, command: string][] = [
    ['gif', 'convert -delay 10 flat.ppm frame1.ppm frame2.ppm frame3.ppm gif:@'],
    ['gif with optimized frames', 'convert -delay 10 flat.ppm frame1.ppm frame2.ppm frame3.ppm -layers optimize gif:@'],
    ['webp', 'img2webp -lossless flat.png frame1.png frame2.png frame3.png -o @ >/dev/null'],
    ['apng', 'apngasm apng.png frame0.png >/dev/null; cat apng.png'],
    ['tiff', 'tiffcp flat.tif frame1.tif frame2.tif frame3.tif @'],
  ]
  it.for(files)(
    '%s: reads the first by default, and selected ones in the order of the selection',
    async ([, command]) => {
      const file = await make({ command }, folder)
      const [first, second, third, last] = frames as [Pixels, Pixels, Pixels, Pixels]
      expectImages((await loadOne(file)).images, [first])
      expectImages((await loadOne(file, 'all')).images, frames)
      expectImages((await loadOne(file, '4,1-2')).images, [last, first, second])
      expectImages((await loadOne(file, 2)).images, [first, last])
      expectImages((await loadOne(file, '3')).images, [third])
      await expect(loadOne(file, '5')).rejects.toThrow(
        /The selection of (page|frame)s is invalid: (page|frame) 5 does not exist, the file has 4/,
      )
      await expect(loadOne(file, '2-1')).rejects.toThrow(/the range 2-1 ends before it begins/)
      await expect(loadOne(file, 'some')).rejects.toThrow(/"some" is not a (page|frame) number or a range.*"1-3,7"/)
    },
  )

  it('apng: draws frames that are smaller than the canvas, cleared or restored', async () => {
    const command = `convert -size ${width}x52 xc:white base.png; convert -size 12x9 xc:red red.png
      convert -delay 10 -size ${width}x52 xc:white -page +5+6 red.png -page +30+20 red.png gif:boxes.gif
      convert boxes.gif -coalesce png:frame-in%d.png; mkdir -p boxes; mv frame-in*.png boxes
      cd boxes; apngasm ../boxes.png frame-in0.png >/dev/null; cat ../boxes.png`
    const { images } = await loadOne(await make({ command }, folder), 'all')
    const gif = await loadOne(await make({ command: 'cat boxes.gif' }, folder), 'all')
    expectImages(images, gif.images)
  })

  it('pdf: reads all pages, each at the size that the model can use', async () => {
    const file = await make({ command: documentOf }, folder)
    const { images, format } = await loadOne(file, undefined, 256)
    expect(format).toBe('pdf')
    expect(images.map(({ page }) => page)).toEqual([1, 2, 3, 4])
    for (const [index, { width, height, rgb }] of images.entries()) {
      expect(Math.max(width, height)).toBeLessThanOrEqual(512)
      const at = (Math.floor(height / 6) * width + Math.floor(width / 8)) * 3
      expect(Array.from(rgb.subarray(at, at + 3))).toEqual(Array.from(frames[index]?.rgb.subarray(0, 3) ?? []))
    }
    expect((await loadOne(file, '2,4')).images.map(({ page }) => page)).toEqual([2, 4])
  })

  it('pdf: refuses more pages than images are allowed, saying how to select', async () => {
    const command = `${documentOf} >four.pdf; qpdf --empty --pages $(yes four.pdf | head -8) -- @`
    const file = await make({ command }, folder)
    await expect(loadOne(file)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'too_many_images',
      message: expect.stringMatching(
        /selects 32 of the file's 32 pages; at most 30 images can be read.*extension "pages".*"pages": "1-30"/,
      ),
    })
    expect((await loadOne(file, '31-32')).images).toHaveLength(2)
    expect((await loadOne(file, 3)).images.map(({ page }) => page)).toEqual([1, 17, 32])
  })

  it('pdf: refuses a password and a damaged file, and reads one that needs no password', async () => {
    const locked = `${documentOf} >four.pdf; qpdf --encrypt secret owner 256 -- four.pdf @`
    await expect(loadOne(await make({ command: locked }, folder))).rejects.toMatchObject({ code: 'pdf_password' })
    const open = `${documentOf} >four.pdf; qpdf --encrypt '' owner 256 -- four.pdf @`
    expect((await loadOne(await make({ command: open }, folder))).images).toHaveLength(4)
    const broken = `${documentOf} >four.pdf; head -c 700 four.pdf`
    await expect(loadOne(await make({ command: broken }, folder))).rejects.toMatchObject({ kind: 'unreadable_media' })
  })
})
