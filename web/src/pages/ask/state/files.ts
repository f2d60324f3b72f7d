import { kindOfName } from '../../../../../src/file-names.ts'
import { blobToDataUrl } from '../../../data-url.ts'
import { type Input, newId, type Picture } from './conversation.ts'
import { recordingIn } from './recordings.ts'
import { fileOf, remove, saveFile } from './store.ts'

interface Named {
  readonly name: string
  readonly type: string
}

export const isDocument = ({ name, type }: Named): boolean => type === 'application/pdf' || /\.pdf$/i.test(name)

/** Of a file, as far as its type and name tell. */
export function inputOf({ name, type }: Named): Input {
  const [kind] = type.split('/')
  if (kind === 'video' || kind === 'audio') return kind
  return kindOfName(name) ?? 'image'
}

/** Puts a file into the store. Its id begins with the time, in ms since 1970. */
export async function keep(picked: File): Promise<Picture> {
  const id = `${Date.now()}-${newId()}`
  const input = inputOf(picked)
  if (input !== 'image') {
    await saveFile(id, picked)
    const { type, size: bytes } = picked
    const recording = await recordingIn(picked, input)
    return { id, name: picked.name || input, type: type || `${input}/*`, bytes, shrunkFrom: 0, pages: '', ...recording }
  }
  const image = isDocument(picked) ? undefined : await createImageBitmap(picked).catch(() => undefined)
  const isLarge = picked.size > mostBytes && image !== undefined && (await hasOneFrame(picked))
  const small = isLarge ? await shrunk(image, { edge: mostEdge, quality: 0.92 }) : undefined
  const file = small?.blob ?? picked
  // 0: a kind that this browser does not show, as HEIC is for most.
  const { width = 0, height = 0 } = small ?? image ?? {}
  image?.close()
  await saveFile(id, file)
  urls.set(id, URL.createObjectURL(file))
  return {
    ...{ id, name: picked.name || 'picture', type: file.type, bytes: file.size, pages: '', width, height },
    shrunkFrom: small === undefined ? 0 : picked.size,
  }
}

/**
 * Puts a smaller copy of a picture into the store, under an id of its own: others may have the picture as it was.
 * @returns undefined if there is none: its file is gone, has frames or pages, or is small
 */
export async function smallerCopy(picture: Picture): Promise<Picture | undefined> {
  const file = await fileOf(picture.id)
  if (file === undefined || !(await hasOneFrame(file))) return undefined
  const image = await createImageBitmap(file).catch(() => undefined)
  if (image === undefined) return undefined
  const longest = Math.max(image.width, image.height)
  const edge = Math.max(leastEdge, Math.round(0.7 * longest))
  const small = edge < longest ? await shrunk(image, { edge, quality: 0.85 }) : undefined
  image.close()
  if (small === undefined || small.blob.size >= file.size) return undefined
  const id = `${Date.now()}-${newId()}`
  await saveFile(id, small.blob)
  const { blob, width, height } = small
  const shrunkFrom = picture.shrunkFrom || picture.bytes
  return { ...picture, id, type: blob.type, bytes: blob.size, shrunkFrom, width, height }
}

/** One that is larger is shrunk when it is picked. */
const mostBytes = 4e6
/** px. No model sees more of a picture. */
const mostEdge = 4096
/** px. In a smaller picture nobody finds much. */
const leastEdge = 512

/** Of other kinds, and of animations, the frames would be lost. */
async function hasOneFrame(file: Blob): Promise<boolean> {
  if (file.type !== 'image/webp') return ['image/jpeg', 'image/png', 'image/bmp', 'image/avif'].includes(file.type)
  // An extended file says in its head whether it is an animation.
  const head = new Uint8Array(await file.slice(0, 21).arrayBuffer())
  const isExtended = String.fromCharCode(...head.slice(12, 16)) === 'VP8X'
  return !isExtended || ((head[20] ?? 0) & 2) === 0
}

/** @returns undefined where the browser cannot */
async function shrunk(
  image: ImageBitmap,
  { edge, quality }: { edge: number; quality: number },
): Promise<{ blob: Blob; width: number; height: number } | undefined> {
  const scale = Math.min(1, edge / Math.max(image.width, image.height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.round(image.width * scale)
  canvas.height = Math.round(image.height * scale)
  const context = canvas.getContext('2d')
  if (context === null) return undefined
  // What shines through is white, as it is on the server.
  context.fillStyle = 'white'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.drawImage(image, 0, 0, canvas.width, canvas.height)
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/jpeg', quality))
  return blob === null ? undefined : { blob, width: canvas.width, height: canvas.height }
}

const urls = new Map<string, string>()

/** A URL for this page. undefined: the file is not there any more. */
export async function urlOf(id: string): Promise<string | undefined> {
  const known = urls.get(id)
  if (known !== undefined) return known
  const file = await fileOf(id)
  if (file === undefined) return undefined
  const url = URL.createObjectURL(file)
  urls.set(id, url)
  return url
}

/** Removes files for good, with what the page has of them. */
export async function removeFiles(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    URL.revokeObjectURL(urls.get(id) ?? '')
    urls.delete(id)
  }
  await remove('files', ids)
}

/** A URL that has the bytes of the file. @throws Error if it is not there any more */
export async function dataUrlOf({ id, name, type }: Picture): Promise<string> {
  const file = await fileOf(id)
  if (file === undefined) throw new Error(`The file of “${name}” is not in this browser any more.`)
  return blobToDataUrl(type === '' ? new Blob([file], { type: 'application/octet-stream' }) : file)
}
