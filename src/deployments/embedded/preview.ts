import { onAbort } from '../../abort.ts'
import type { Engine, ImageAttachment } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import { Costs } from '../../fairness.ts'
import { asImages, type Media } from '../../media/index.ts'
import { Semaphore } from '../../semaphore.ts'
import type { Backend, PreviewedImage, SeenView } from '../backend.ts'
import { cacheKeyOf } from './generation.ts'
import { imagePiece } from './images.ts'

/** Pixels of all views of one preview: as many bytes cross to the client as of a large request. */
const mostPixels = 16e6
/** Previews at the same time, until the last byte of each is read: they hold pixels, and then files of some megabytes. */
const mostOpen = { all: 8, ofOne: 4 }
/** Previews that wait for their turn. */
const mostWaiting = 100

/**
 * Shows what the encoder gets. One image at a time is scaled and written, and clients take turns image by image. Only so many
 * previews have begun and are not read yet, which bounds the memory.
 */
export function previewer(engine: Engine, media: Media): NonNullable<Backend['preview']> {
  const costs = new Costs()
  const waiting = { most: mostWaiting, full: tooManyWaiting }
  const open = new Semaphore({ capacity: mostOpen.all, mostOfOne: mostOpen.ofOne, waiting }, costs)
  const turns = new Semaphore({ capacity: 1 }, costs)
  return async ({ attachments, client, settings }, signal) => {
    onAbort(signal, await open.acquire(client, 1, signal))
    const longestEdge = engine.model.inputs.image?.longestEdge ?? 1
    const asker = { client, isolation: cacheKeyOf(settings) }
    const loaded = await media.load(attachments, asker, { longestEdge }, signal)
    const sent = loaded.map(asImages).flatMap(({ images, ...file }, index) => {
      const attachment = attachments[index]
      if (attachment === undefined) throw new Error('more was loaded than was sent')
      return images.map((image) => ({ image, file, attachment, piece: imagePiece(image, attachment) }))
    })
    const pieces = sent.map(({ piece }) => piece)
    const { attachmentTokens } = await engine.count(pieces, client)

    let left = mostPixels
    const show = async (piece: ImageAttachment): Promise<SeenView[]> => {
      // Before its turn: others would wait while the file of an image that was seen before is decoded.
      await piece.pixels.decode()
      const release = await turns.acquire(client, 1, signal)
      const charge = costs.run(client)
      try {
        const shown: SeenView[] = []
        for (const { tiles, ...view } of await engine.preview(piece, left)) {
          const { width, height } = view
          left -= width * height
          shown.push({ width, height, tiles, file: await media.write(view, client, signal) })
        }
        return shown
      } finally {
        piece.pixels.letGo()
        charge()
        release()
      }
    }

    const images: PreviewedImage[] = []
    for (const [at, { image, file, attachment, piece }] of sent.entries()) {
      const { param, detail } = attachment
      const views = await show(piece).catch((error: unknown) => {
        throw error instanceof OrielError ? error.at(param) : error
      })
      const { width = 0, height = 0 } = views.at(-1) ?? {}
      images.push({
        ...image.original,
        ...{ param, detail, page: image.page, pages: file.pagesInFile, format: file.format, bytes: file.bytes },
        decoded: { width: image.width, height: image.height },
        seen: { width, height },
        tiles: views.reduce((sum, { tiles }) => sum + tiles.length, 0),
        tokens: attachmentTokens[at] ?? 0,
        views,
      })
    }
    return { longestEdge, images }
  }
}

const tooManyWaiting = (): OrielError =>
  new OrielError('overloaded', `${mostWaiting} previews are waiting. That is the limit. Try again later.`, {
    code: 'too_many_previews_waiting',
    retryAfter: 5,
  })
