import path from 'node:path'
import { badModel, unsupportedModel } from '../errors.ts'
import { type GgufHeader, headerOf, metadataOf } from '../gguf/index.ts'
import { textOf } from './fit.ts'
import type { LocalModel } from './local.ts'

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
}

/** @throws OrielError `invalid` that says what of an adapter has no place in a model */
export async function checkAdapterFit({ decoder, vision }: GgufAdapter, model: LocalModel): Promise<void> {
  if (decoder !== null) {
    const [adapter, base] = await Promise.all([headerOf(decoder), headerOf(model.decoder)])
    const [own, wanted] = [adapter, base].map(({ metadata }) => textOf(metadata.get('general.architecture')))
    if (own !== wanted) throw badModel(`It is for the architecture ${own}, and the model has ${wanted}.`)
    checkShapes(adapter, base, path.basename(model.decoder))
  }
  if (vision !== null) {
    if (model.projector === null) throw badModel('It changes the encoder of images, and the model has no vision file.')
    checkShapes(await headerOf(vision), await headerOf(model.projector), path.basename(model.projector))
  }
}

function checkShapes(adapter: GgufHeader, base: GgufHeader, file: string): void {
  const [own, found] = [metadataOf(adapter, file), metadataOf(base, file)]
  for (const name of own.tensorNames.filter((name) => name.endsWith('.lora_a'))) {
    const matrix = name.slice(0, -'.lora_a'.length)
    const [a, b, base] = [own.needTensor(name), own.needTensor(`${matrix}.lora_b`), found.tensor(matrix)]
    if (base === null) throw badModel(`It changes ${matrix}, which ${file} does not have.`)
    // The first half of a table of tokens is turned.
    const [inputs, rank] = matrix === 'token_embd.weight' ? [a.rows, a.columns] : [a.columns, a.rows]
    const [rows, columns] = matrix === 'token_embd.weight' ? [inputs, b.rows] : [b.rows, inputs]
    if (rank !== b.columns || rows !== base.rows || columns !== base.columns)
      throw badModel(`Its ${matrix} is ${columns} x ${rows}, and that of ${file} is ${base.columns} x ${base.rows}.`)
  }
}
