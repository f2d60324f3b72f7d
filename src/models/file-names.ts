import { OrielError } from '../errors.ts'

/** A file that may belong to a model, by its path in a repository or a folder. */
export interface NamedFile {
  readonly path: string
}

/** A decoder, recognised by file names: one file, or all parts of a split one. */
export interface NamedDecoder<F extends NamedFile> {
  /** `Q4_K_M`; empty if the name does not have it. */
  quant: string
  files: readonly F[]
  /** The path without `.gguf` and without the number of a part. */
  stem: string
}

/** The order of preference: good answers in little memory first. */
const preferredQuants = ['Q4_K_M', 'Q8_0', 'UD-Q4_K_XL', 'Q4_K_S', 'Q5_K_M', 'Q6_K', 'Q4_0', 'F16', 'BF16', 'F32']
/** Vision files are small, and their errors matter: exact ones first. BF16 is last, since not every machine computes with it. */
const preferredVision = ['F16', 'Q8_0', 'F32', 'BF16']

/** The decoders among files in order of preference. Split ones with missing parts are left out. */
export function decodersOf<F extends NamedFile>(files: readonly F[]): NamedDecoder<F>[] {
  const groups = new Map<string, { count: number; files: F[] }>()
  for (const file of files) {
    if (!isDecoderName(file.path)) continue
    const { stem, count } = splitOf(file.path)
    const group = groups.get(stem) ?? { count, files: [] }
    group.files.push(file)
    groups.set(stem, group)
  }
  return [...groups]
    .filter(([, group]) => group.files.length === group.count)
    .map(([stem, group]) => ({ stem, quant: quantOf(stem), files: group.files.toSorted(byPath) }))
    .toSorted((a, b) => rank(preferredQuants, a.quant) - rank(preferredQuants, b.quant) || byText(a.stem, b.stem))
}

/**
 * The vision file that belongs to a decoder: one that has its name, with or without the quantization, or else the preferred one
 * in its folder or above, unless that has the name of another decoder.
 * @param stem of the decoder
 */
export function projectorFor<F extends NamedFile>(files: readonly F[], stem: string): F | undefined {
  const found = files.filter(({ path }) => isVisionName(path) && stem.startsWith(folderOf(path)))
  const own = found.filter(({ path }) => withoutMmproj(path) === stem.toLowerCase())
  const alike = found.filter(({ path }) => plainName(withoutMmproj(path)) === plainName(stem))
  const others = new Set(
    files.filter(({ path }) => isDecoderName(path)).map(({ path }) => plainName(splitOf(path).stem)),
  )
  const anyones = found.filter(({ path }) => !others.has(plainName(withoutMmproj(path))))
  return ([own, alike].find(({ length }) => length > 0) ?? anyones).toSorted(
    (a, b) =>
      folderOf(b.path).length - folderOf(a.path).length ||
      rank(preferredVision, quantOf(splitOf(a.path).stem)) - rank(preferredVision, quantOf(splitOf(b.path).stem)) ||
      byPath(a, b),
  )[0]
}

export const isGguf = (path: string): boolean => /\.gguf$/i.test(path)

export const isVisionName = (path: string): boolean => /mmproj[^/]*\.gguf$/i.test(path)

/** Excludes files of other purposes: draft heads and importance matrices. */
const isDecoderName = (path: string): boolean =>
  isGguf(path) && !isVisionName(path) && !/(imatrix|mtp-|eagle3-|dflash-|dspark-)[^/]*$/i.test(path)

/** `dir/name-00001-of-00003.gguf` -> its stem `dir/name`, one of three. */
export function splitOf(path: string): { stem: string; count: number } {
  const [, stem = path, count = '1'] = /^(.*?)(?:-\d{5}-of-(\d{5}))?\.gguf$/i.exec(path) ?? []
  return { stem, count: Number(count) }
}

/**
 * The name of the folder for a model's file: its own name without `.gguf` and without the number of a part.
 * @throws OrielError `invalid` for a name that is not a plain file name
 */
export function folderFor(name: string): string {
  const { stem } = splitOf(name)
  if (/^\.|[/\\:\p{Cc}]|^$/u.test(stem))
    throw new OrielError('invalid', `${JSON.stringify(name)} is not a valid name for a model file.`)
  return stem
}

/** The paths of all parts of a decoder, from the path of the first. */
export function splitParts(path: string): string[] {
  const { stem, count } = splitOf(path)
  const five = (number: number): string => String(number).padStart(5, '0')
  return count === 1
    ? [path]
    : Array.from({ length: count }, (_, at) => `${stem}-${five(at + 1)}-of-${five(count)}.gguf`)
}

/** The quantization in a name, or in the name of its folder: `UD-Q4_K_XL/name-00001-of-00002.gguf`. */
function quantOf(stem: string): string {
  const found = stem
    .toUpperCase()
    .match(/(?<![A-Z0-9])(UD-)?(I?Q\d(_[A-Z0-9]+)*|TQ\d_\d|BF16|FP?16|FP?32|MXFP4|NVFP4)(?![A-Z0-9])/g)
  return (found?.at(-1) ?? '').replace(/^FP/, 'F')
}

/** A name without its quantization, in small letters. */
const plainName = (stem: string): string =>
  stem.toLowerCase().replace(new RegExp(`[-_.]?${quantOf(stem).toLowerCase()}$`), '')

const withoutMmproj = (path: string): string => splitOf(path.toLowerCase().replace(/mmproj[-_.]|[-_.]mmproj/, '')).stem
const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1)
const rank = (order: readonly string[], quant: string): number =>
  order.includes(quant) ? order.indexOf(quant) : order.length
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const byPath = (a: NamedFile, b: NamedFile): number => byText(a.path, b.path)
