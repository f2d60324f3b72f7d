import type { Picture } from './conversation.ts'
import { newId } from './conversation.ts'
import { fileOf, saveFile } from './store.ts'

/** What a file picker offers. The server looks at the bytes of a file, not at its name. */
export const accepted = 'image/*,.heic,.heif,.avif,.tif,.tiff,.bmp,.ppm,.pgm,.pnm,application/pdf,.pdf'

export const isDocument = ({ name, type }: { name: string; type: string }): boolean =>
  type === 'application/pdf' || /\.pdf$/i.test(name)

/** Puts a file into the store. Its id begins with the time, in ms since 1970. */
export async function keep(file: File): Promise<Picture> {
  const id = `${Date.now()}-${newId()}`
  await saveFile(id, file)
  urls.set(id, URL.createObjectURL(file))
  const { width, height } = isDocument(file) ? { width: 0, height: 0 } : await sizeOf(file)
  const name = file.name === '' ? 'picture' : file.name
  return { id, name, type: file.type, bytes: file.size, width, height, pages: '' }
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

/** A URL that has the bytes of the file. @throws Error if it is not there any more */
export async function dataUrlOf({ id, name, type }: Picture): Promise<string> {
  const file = await fileOf(id)
  if (file === undefined) throw new Error(`The file of “${name}” is not in this browser any more.`)
  return blobToDataUrl(type === '' ? new Blob([file], { type: 'application/octet-stream' }) : file)
}

export const blobToDataUrl = (blob: Blob): Promise<string> =>
  new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(String(reader.result))
    reader.onerror = () => reject(reader.error)
    reader.readAsDataURL(blob)
  })

/** 0: a kind that this browser does not show, as HEIC is for most. */
async function sizeOf(file: Blob): Promise<{ width: number; height: number }> {
  const image = await createImageBitmap(file).catch(() => undefined)
  const size = { width: image?.width ?? 0, height: image?.height ?? 0 }
  image?.close()
  return size
}
