import path from 'node:path'
import { badModel, unsupportedModel } from '../errors.ts'
import { type GgufHeader, headerOf, metadataOf } from '../gguf/index.ts'
import type { ModelFiles } from './card.ts'
import { embeddingFacts } from './embedding.ts'
import { splitParts } from './file-names.ts'
import { decoderFacts, textOf } from './fit.ts'

/** What the GGUF files of an adapter say. */
export interface GgufAdapter {
  /** `general.architecture` of the models that it is for; of one for encoders only, `clip`. */
  readonly architecture: string
  readonly decoder: string | null
  readonly vision: string | null
  readonly alpha: number
  readonly rank: number
  readonly invocation: readonly number[]
  readonly bytes: number
  /** The model that it was trained on, as its file names it. */
  readonly base: string | null
}

/** @throws OrielError `invalid` for a file that is no adapter, or one that llama.cpp would not load */
export async function readGgufAdapter(files: readonly string[]): Promise<GgufAdapter> {
  const halves = await Promise.all(files.map(async (file) => ({ file, header: await headerOf(file) })))
  const isVision = ({ header }: { header: GgufHeader }): boolean =>
    textOf(header.metadata.get('general.architecture')) === 'clip'
  const [decoders, visions] = [halves.filter((half) => !isVision(half)), halves.filter(isVision)]
  if (decoders.length > 1 || visions.length > 1)
    throw badModel(`It has ${halves.length} GGUF files: ${files.map((file) => path.basename(file)).join(', ')}.`)
  for (const { file, header } of halves) checkPairs(header, path.basename(file))
  const first = decoders[0] ?? visions[0]
  if (first === undefined) throw badModel('It has no GGUF file.')
  const { metadata, tensors } = first.header
  const invocation = metadata.get('adapter.alora.invocation_tokens')
  const alpha = metadata.get('adapter.lora.alpha')
  return {
    architecture: textOf(metadata.get('general.architecture')),
    decoder: decoders[0]?.file ?? null,
    vision: visions[0]?.file ?? null,
    alpha: typeof alpha === 'number' ? alpha : 0,
    rank: Math.max(...tensors.filter(({ name }) => name.endsWith('.lora_b')).map(({ shape: [rank = 0] }) => rank)),
    invocation: typeof invocation === 'object' ? (invocation.numbers ?? []) : [],
    bytes: halves.reduce((sum, { header }) => sum + header.tensors.reduce((sum, { bytes }) => sum + bytes, 0), 0),
    base:
      textOf(metadata.get('general.base_model.0.repo_url')) ||
      textOf(metadata.get('general.base_model.0.name')) ||
      null,
  }
}

/** As llama.cpp checks it: `llama_adapter_lora_init_impl` of its src/llama-adapter.cpp. */
function checkPairs({ metadata, tensors }: GgufHeader, name: string): void {
  const kind = textOf(metadata.get('general.type')) || 'model'
  if (kind !== 'adapter') throw badModel(`${name} is a GGUF file of type ${JSON.stringify(kind)}, not an adapter.`)
  const type = textOf(metadata.get('adapter.type'))
  if (type !== 'lora')
    throw unsupportedModel(`${name} is an adapter of type ${JSON.stringify(type)}; only lora is supported.`)
  const names = new Set(tensors.map(({ name }) => name))
  for (const { name: tensor } of tensors) {
    const [, matrix, half] = /^(.+)\.lora_([ab])$/.exec(tensor) ?? []
    if (matrix === undefined) {
      // llama.cpp leaves them out, and answers would be others than in training.
      throw unsupportedModel(`${name} has ${JSON.stringify(tensor)}, which is no half of a matrix of LoRA.`)
    }
    if (!names.has(`${matrix}.lora_${half === 'a' ? 'b' : 'a'}`))
      throw badModel(`${name} has one half only of ${matrix}.`)
  }
  if (tensors.length === 0) throw badModel(`${name} has no matrices.`)
  const other = tensors.find(({ type }) => !matrixTypes.includes(type))
  if (other !== undefined)
    throw unsupportedModel(`${name} has ${other.name} in ${other.type}; the types are ${matrixTypes.join(', ')}.`)
  const alpha = metadata.get('adapter.lora.alpha')
  if (alpha !== undefined && !Number.isFinite(alpha)) throw badModel(`Its alpha is ${Number(alpha)}.`)
}

/** Types of halves that llama.cpp multiplies on every device. */
const matrixTypes: readonly string[] = ['F32', 'F16', 'BF16', 'Q8_0']

/** @throws OrielError `invalid` that says what of an adapter has no place in a model */
export async function checkAdapterFit({ decoder, vision }: GgufAdapter, model: ModelFiles): Promise<void> {
  if (decoder !== null) {
    const [adapter, base] = await Promise.all([headerOf(decoder), wholeDecoder(model.decoder)])
    const [own, wanted] = [adapter, base].map(({ metadata }) => textOf(metadata.get('general.architecture')))
    if (own !== wanted) throw badModel(`It is for the architecture ${own}, and the model has ${wanted}.`)
    checkDecoderFit(adapter.tensors, base, path.basename(model.decoder))
  }
  if (vision !== null) {
    if (model.projector === null) throw badModel('It changes the encoder of images, and the model has no vision file.')
    checkShapes(await headerOf(vision), await headerOf(model.projector), path.basename(model.projector))
  }
}

/** The header of a decoder with the tensors of all of its parts. @param file the first part */
export async function wholeDecoder(file: string): Promise<GgufHeader> {
  const [first, ...others] = await Promise.all(splitParts(file).map(headerOf))
  if (first === undefined) throw new Error('a model without files')
  return { ...first, tensors: [first, ...others].flatMap(({ tensors }) => tensors) }
}

/**
 * Whether llama.cpp can compute a decoder with an adapter.
 * @param halves the adapter's tensors @param base as `wholeDecoder` gives it @param file its name, for messages
 * @throws OrielError `invalid` that says what has no place in it
 */
export function checkDecoderFit(halves: readonly Half[], base: GgufHeader, file: string): void {
  if (embeddingFacts(base, decoderFacts(base, file), file) !== null)
    throw unsupportedModel('The model embeds texts. Only models that answer take adapters.')
  checkMatrices(halves, base, file)
}

function checkShapes(adapter: GgufHeader, base: GgufHeader, file: string): void {
  const [own, found] = [metadataOf(adapter, file), metadataOf(base, file)]
  for (const name of own.tensorNames.filter((name) => name.endsWith('.lora_a'))) {
    const matrix = name.slice(0, -'.lora_a'.length)
    const [a, b, base] = [own.needTensor(name), own.needTensor(`${matrix}.lora_b`), found.tensor(matrix)]
    if (base === null) throw badModel(`It changes ${matrix}, which ${file} does not have.`)
    if (a.rows !== b.columns || b.rows !== base.rows || a.columns !== base.columns)
      throw badModel(
        `Its ${matrix} is ${a.columns} x ${b.rows}, and that of ${file} is ${base.columns} x ${base.rows}.`,
      )
  }
}

type Tensor = GgufHeader['tensors'][number]
type Half = Pick<Tensor, 'name' | 'shape'>

/** Stricter than llama.cpp, which loads adapters that end its process when it computes with them. */
function checkMatrices(halves: readonly Half[], { tensors }: GgufHeader, file: string): void {
  const own = new Map(halves.map((half) => [half.name, half]))
  const matrices = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  for (const { name } of halves) {
    const matrix = name.replace(/\.lora_[ab]$/, '')
    const [a, b, base] = [own.get(`${matrix}.lora_a`), own.get(`${matrix}.lora_b`), matrices.get(matrix)]
    if (a === undefined || b === undefined || base === undefined)
      throw badModel(`It changes ${matrix}, which ${file} does not have.`)
    if (base.shape.length < 2) throw unsupportedModel(`It changes ${matrix}, which is no matrix.`)
    if (base.type === 'NVFP4') throw unsupportedModel(`It changes ${matrix}, which is in NVFP4, as no adapter can.`)
    checkHalves(a, b, base, matrices.has('output.weight'))
  }
}

function checkHalves(a: Half, b: Half, { name, shape }: Tensor, hasOutput: boolean): void {
  const [columns = 1, rows = 1, ...experts] = shape
  const [rank = 1] = b.shape
  // The first half of a table of tokens is turned.
  const isTable = name === 'token_embd.weight'
  if (isTable && !hasOutput)
    throw unsupportedModel(
      `It changes ${name}, which is the model's output too: one cannot be changed without the other.`,
    )
  const wanted = isTable
    ? { a: [rank, rows], b: [rank, columns] }
    : { a: [columns, rank, ...experts], b: [rank, rows, ...experts] }
  for (const [half, must] of [
    [a, wanted.a],
    [b, wanted.b],
  ] as const)
    if (!isShape(half.shape, must))
      throw badModel(
        `Its ${half.name} is ${half.shape.join(' x ')}; for a matrix of ${shape.join(' x ')} it must be ${must.join(' x ')}.`,
      )
}

/** Axes of length 1 at the end make no difference. */
const isShape = (shape: readonly number[], wanted: readonly number[]): boolean =>
  Array.from({ length: Math.max(shape.length, wanted.length) }, (_, axis) => axis).every(
    (axis) => (shape[axis] ?? 1) === (wanted[axis] ?? 1),
  )
