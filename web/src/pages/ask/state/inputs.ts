import type { Input } from './conversation.ts'
import { current } from './conversations.ts'
import { inputOf, isDocument } from './files.ts'
import { listed, models, nameOf, refusing, takes, taking } from './models.ts'

/** What may be added to a question: what all models of the conversation take. */

/** What a file picker offers for each input of a model. The server looks at the bytes of a file, not at its name. */
const pickable: Readonly<Record<Input, string>> = {
  image: 'image/*,.heic,.heif,.avif,.tif,.tiff,.bmp,.ppm,.pgm,.pnm,application/pdf,.pdf',
  video: 'video/*,.mkv,.m4v,.mov,.avi,.3gp',
  audio: 'audio/*,.opus,.flac,.m4a,.oga,.weba',
}

const inputs = ['image', 'video', 'audio'] as const

/** What a file picker offers. */
export const accepted = (): string =>
  inputs
    .filter(takes)
    .map((input) => pickable[input])
    .join(',')

const words: Readonly<Record<Input, string>> = { image: 'pictures', video: 'videos', audio: 'audio' }

/** What may be added: `Add pictures, videos or a PDF`; undefined: the models take no files. */
export function additions(): string | undefined {
  const all = [...inputs.filter(takes).map((input) => words[input]), ...(takes('image') ? ['a PDF'] : [])]
  return all.length === 0
    ? undefined
    : `Add ${new Intl.ListFormat('en', { type: 'disjunction' }).format(all).replace(/, or/, ' or')}`
}

/** Why no file can be added: `Pocket takes text only`. */
export const noAdditions = (): string =>
  `${new Intl.ListFormat('en').format(current.value.models.map(nameOf))} takes text only`

/** Models that a message names. */
const mostNamed = 5

function insteadFor(input: Input): string {
  const names = taking(input).slice(0, mostNamed).map(nameOf)
  return names.length === 0 ? 'No model on this server does.' : `Models on this server that do: ${names.join(', ')}.`
}

/** Why a file cannot be asked about; empty: it can, as far as its name and type tell. */
export async function problemOf(file: File): Promise<string> {
  const { name, type } = file
  const input = inputOf(file)
  const isReadable =
    type === '' ||
    type === 'application/octet-stream' ||
    isDocument(file) ||
    input !== 'image' ||
    /^image\/(?!svg)/.test(type)
  if (!isReadable) return `${name} is not a picture that the server reads, nor a PDF, a video or audio.`
  // A page that has just been opened does not know yet what its models take.
  if (!takes(input)) await listed()
  if (!takes(input) && models.value === undefined)
    return `${name} cannot be added: the server has not said what its models take.`
  if (!takes(input))
    return `${name} cannot be added: ${refusing(input).map(nameOf).join(' and ')} takes no ${words[input]}. ${insteadFor(input)}`
  // A folder can be dropped like a file, but has no bytes.
  const start = await file
    .slice(0, 1)
    .arrayBuffer()
    .catch(() => undefined)
  if (start === undefined) return `${name} cannot be read.`
  return start.byteLength === 0 ? `${name} is empty.` : ''
}
