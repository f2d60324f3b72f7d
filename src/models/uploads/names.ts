import { OrielError } from '../../errors.ts'
import { isGguf } from '../file-names.ts'
import { adaptersFolder } from '../local.ts'
import type { Upload } from './folder.ts'

/** Files of one upload. */
const mostFiles = 200
/** Of one file, in bytes. */
const mostBytes = 1e13

/** Whether a model may be uploaded under this name, which becomes that of a folder on every system. */
export const isModelName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9._-]{0,62}$/.test(name) && !isReserved(name) && !isGguf(name) && name !== adaptersFolder

/** @throws OrielError `invalid` */
export function checkModelName(name: string): void {
  if (!isModelName(name))
    throw invalid(
      'modelId',
      'The name of a model or an adapter has 1 to 63 small letters, digits, ".", "_" and "-". It begins with a letter or digit, does not end with "." or ".gguf", and is not "adapters".',
    )
}

/**
 * The files of an upload, with those that are announced now.
 * @param announced bytes by name
 * @throws OrielError `invalid` that names the file
 */
export function filesWith({ kind, files }: Upload, announced: Readonly<Record<string, number>>): Upload['files'] {
  const all = { ...files, ...announced }
  const names = Object.keys(all)
  if (names.length === 0) throw invalid('filenameToSize', 'filenameToSize must have at least one file.')
  if (names.length > mostFiles)
    throw invalid('filenameToSize', `An upload may have ${mostFiles} files; with these it has ${names.length}.`)
  for (const [name, bytes] of Object.entries(announced)) {
    checkFileName(name, kind)
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > mostBytes)
      throw invalid('filenameToSize', `The size of ${name} must be 0 to ${mostBytes} bytes; found ${bytes}.`)
  }
  const small = names.map((name) => name.toLowerCase())
  const twin = names.find((name, at) => small.indexOf(name.toLowerCase()) !== at)
  if (twin !== undefined) throw invalid('filenameToSize', `Two names differ from ${twin} in capital letters only.`)
  return all
}

function checkFileName(name: string, kind: Upload['kind']): void {
  const shown = JSON.stringify(name.slice(0, 100))
  if (!/^[A-Za-z0-9][\w.+=@-]{0,199}$/.test(name) || isReserved(name))
    throw invalid(
      'filenameToSize',
      `${shown} is not a name for a file: up to 200 letters, digits and ". _ - + = @", without folders.`,
    )
  if (kind === 'model' && !isGguf(name))
    throw invalid(
      'filenameToSize',
      `${shown} is no GGUF file. A model is uploaded as GGUF: its decoder and its encoder.`,
    )
  if (name.toLowerCase() === 'oriel.json') throw invalid('filenameToSize', 'Oriel writes its own oriel.json.')
}

/** Names that Windows does not let files have. */
const isReserved = (name: string): boolean => /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)|\.$/i.test(name)

const invalid = (param: string, message: string): OrielError =>
  new OrielError('invalid', message, { param, code: 'invalid_value' })
