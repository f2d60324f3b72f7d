import { createHash } from 'node:crypto'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { badModel, unsupportedModel } from '../../errors.ts'
import { headerOf, type Metadata, metadataOf } from '../../gguf/index.ts'
import { checkDecoderFit, wholeDecoder } from '../adapter-fit.ts'
import { type PeftConfig, readPeftConfig, scalingOf } from './config.ts'
import { decoderTargets } from './decoder-names.ts'
import { readSafetensors, type SafeTensor, shown } from './safetensors.ts'
import { countOf, mostParts, type Rows, type Target } from './target.ts'
import { isOfEncoder, visionTargets } from './vision-names.ts'

/** A tensor of the result, and how its numbers come about. Plain data: a thread computes with it. */
export interface PlannedTensor {
  readonly name: string
  /** In ggml's order: the fastest axis comes first. */
  readonly shape: readonly [number, number]
  readonly source: SafeTensor
  /** Its rows and columns among those of the source; of a turned one those after it was turned. Omitted: all. */
  readonly rows?: Rows
  readonly columns?: Int32Array
  readonly isTurned?: true
  /** 1 for almost all. */
  readonly factor: number
}

/** An adapter in the format of PEFT, converted for a model. */
export interface PeftPlan {
  readonly architecture: string
  readonly alpha: number
  /** The largest of any matrix. */
  readonly rank: number
  readonly invocation: readonly number[]
  /** For llama.cpp, and for the encoder of images; either may be empty. */
  readonly decoder: readonly PlannedTensor[]
  readonly vision: readonly PlannedTensor[]
}

/** The model that an adapter is converted for: paths of its files. */
export interface PeftBase {
  readonly decoder: string
  readonly projector: string | null
}

/** An adapter's own files, read. */
export interface PeftFiles {
  /** Path of the matrices. */
  readonly file: string
  readonly config: PeftConfig
  readonly modules: readonly PeftModule[]
}

/** A product that an adapter adds to, named as in transformers. */
interface PeftModule {
  readonly name: string
  readonly a: SafeTensor
  readonly b: SafeTensor
  /** The table of tokens, whose matrices have other shapes. */
  readonly isTable: boolean
}

export const peftNames = { config: 'adapter_config.json', matrices: 'adapter_model.safetensors' } as const

/** @param folder with both files @throws OrielError `invalid` that says what cannot be used */
export async function readPeft(folder: string): Promise<PeftFiles> {
  const config = await readPeftConfig(path.join(folder, peftNames.config), peftNames.config)
  const file = path.join(folder, peftNames.matrices)
  return { file, config, modules: modulesOf(await readSafetensors(file, peftNames.matrices)) }
}

/** @throws OrielError `invalid` that names what has no place in the model */
export async function planPeft({ config, modules }: PeftFiles, base: PeftBase): Promise<PeftPlan> {
  const header = await wholeDecoder(base.decoder)
  const name = path.basename(base.decoder)
  const metadata = metadataOf(header, name)
  const architecture = metadata.string('general.architecture')
  const vision = base.projector === null ? null : await headerOf(base.projector)
  const alpha = config.alpha * (config.isRankStabilized ? Math.sqrt(config.rank) : 1)
  const written = { alpha, scalingOf: (module: PeftModule) => scalingOf(config, module.name, rankOf(module)) }
  const [eyes, others] = [
    modules.filter(({ name }) => isOfEncoder(name)),
    modules.filter(({ name }) => !isOfEncoder(name)),
  ]
  if (eyes.length > 0 && vision === null)
    throw badModel(`It changes ${shown(eyes[0]?.name ?? '')}, and ${name} has no vision file.`)
  const decoder = await pausing(others, (module) =>
    planned(module, [decoderTargets(module.name, architecture, metadata)], metadata, written),
  )
  checkDecoderFit(decoder, header, name)
  const facts = vision === null ? null : metadataOf(vision, path.basename(base.projector ?? ''))
  return {
    ...{ architecture, alpha, invocation: config.invocation, decoder },
    rank: Math.max(...modules.map(rankOf)),
    vision:
      facts === null
        ? []
        : await pausing(eyes, (module) => planned(module, visionTargets(module.name, facts), facts, written)),
  }
}

/** Modules that are planned between two pauses: the order of many rows takes a millisecond. */
const plannedAtOnce = 8

async function pausing(
  modules: readonly PeftModule[],
  plan: (module: PeftModule) => PlannedTensor[],
): Promise<PlannedTensor[]> {
  const tensors: PlannedTensor[] = []
  for (const [index, module] of modules.entries()) {
    tensors.push(...plan(module))
    if (index % plannedAtOnce === 0) await nextTurn()
  }
  return tensors
}

/** A name for what comes of a plan. Models with equal plans share the result. */
export async function nameOfPlan(plan: PeftPlan): Promise<string> {
  const { architecture, alpha, rank, invocation, decoder, vision } = plan
  const hash = createHash('sha256').update(JSON.stringify([architecture, alpha, rank, invocation]))
  for (const [index, { rows, columns, ...tensor }] of [...decoder, ...vision].entries()) {
    if (index % plannedAtOnce === 0) await nextTurn()
    hash.update(JSON.stringify(tensor))
    for (const order of [rows, columns])
      hash.update(order instanceof Int32Array ? order : JSON.stringify(order ?? null))
  }
  return hash.digest('hex')
}

const rankOf = ({ a }: PeftModule): number => a.shape[0] ?? 0

/** `base_model.model.NAME.lora_A.weight`, in which some programs leave the name of the adapter. */
const ofModule = /^(?:base_model\.model\.)?(.+)\.lora_(embedding_)?([AB])(?:\.(?!weight$)([^.]+))?(?:\.weight)?$/

function modulesOf(tensors: readonly SafeTensor[]): PeftModule[] {
  const found = new Map<string, { a?: SafeTensor; b?: SafeTensor; isTable: boolean }>()
  const adapters = new Set<string>()
  for (const tensor of tensors) {
    const [, name, table, half, adapter] = ofModule.exec(tensor.name) ?? []
    if (name === undefined) refuse(tensor.name)
    else {
      if (adapter !== undefined) adapters.add(adapter)
      const module = found.get(name) ?? { isTable: table !== undefined }
      found.set(name, { ...module, [half === 'A' ? 'a' : 'b']: tensor })
    }
  }
  if (adapters.size > 1)
    throw unsupportedModel(`It has several adapters: ${[...adapters].slice(0, 8).join(', ')}. Save each by itself.`)
  if (found.size === 0) throw badModel('It has no matrices.')
  return [...found].map(([name, { a, b, isTable }]) => {
    if (a === undefined || b === undefined) throw badModel(`It has one half only of ${shown(name)}.`)
    const isMatrix = a.shape.length === 2 && b.shape.length === 2 && a.shape[0] === b.shape[1] && (a.shape[0] ?? 0) > 0
    if (!isMatrix)
      throw unsupportedModel(
        `The halves of ${shown(name)} are ${a.shape.join(' x ')} and ${b.shape.join(' x ')}: not those of a matrix.`,
      )
    return { name, a, b, isTable }
  })
}

/** @throws OrielError `invalid` for a tensor that is no half of a matrix, unless it is a copy of the base's */
function refuse(name: string): void {
  if (name.endsWith('.base_layer.weight')) return
  const said = shown(name)
  if (name.includes('lora_magnitude_vector')) throw unsupportedModel(`It has ${said}: DoRA is not supported.`)
  if (/(embed_tokens|lm_head)\b/.test(name))
    throw unsupportedModel(`It has ${said}: a whole table of tokens, as after tokens were added, is not supported.`)
  throw unsupportedModel(
    `It has ${said}: whole weights beside the matrices of LoRA, as modules_to_save adds them, are not supported.`,
  )
}

interface Written {
  readonly alpha: number
  scalingOf(module: PeftModule): number
}

/** The halves of a module as tensors, for the first choice of matrices that it fits. */
function planned(
  module: PeftModule,
  choices: readonly (readonly Target[])[],
  base: Metadata,
  { alpha, scalingOf }: Written,
): PlannedTensor[] {
  const { a, b, isTable } = module
  const [rank = 0, inputs = 0] = a.shape
  const [outputs = 0] = b.shape
  // A table has the tokens as the columns of its first half, and is read by rows.
  const [rows, columns] = isTable ? [inputs, outputs] : [outputs, inputs]
  const fits = (targets: readonly Target[]): boolean =>
    targets.every(({ matrix, rows: part }) => {
      const found = base.tensor(`${matrix}.weight`)
      if (found?.columns !== columns) return false
      // A file may say that it has many millions of rows: the list of them is not made for a matrix that has few.
      return part === undefined
        ? found.rows === rows
        : rows <= mostParts * found.rows && found.rows === countOf(part(rows))
    })
  const targets = choices.find(fits)
  if (targets === undefined) throw misfit(module, choices, base, { rows, columns })
  // llama.cpp and our encoders multiply with alpha / rank.
  const factor = (scalingOf(module) * rank) / alpha
  const exact = Math.abs(factor - 1) < 1e-9 ? 1 : factor
  return targets.flatMap(({ matrix, rows: part, columns: order }): PlannedTensor[] => {
    const kept = part?.(outputs)
    return [
      isTable
        ? { name: `${matrix}.weight.lora_a`, shape: [rank, inputs], source: a, isTurned: true, factor: 1 }
        : {
            name: `${matrix}.weight.lora_a`,
            shape: [inputs, rank],
            source: a,
            ...(order && { columns: order(inputs) }),
            factor: 1,
          },
      {
        name: `${matrix}.weight.lora_b`,
        shape: [rank, kept === undefined ? outputs : countOf(kept)],
        source: b,
        ...(kept && { rows: kept }),
        factor: exact,
      },
    ]
  })
}

function misfit(
  { name }: PeftModule,
  choices: readonly (readonly Target[])[],
  base: Metadata,
  { rows, columns }: { rows: number; columns: number },
): Error {
  const named = choices.flat().map(({ matrix }) => matrix)
  const has = named.filter((matrix) => base.tensor(`${matrix}.weight`) !== null)
  if (has.length === 0 && named.includes('output'))
    return unsupportedModel(`It changes ${shown(name)}, which this model shares with its table of tokens.`)
  const [first] = has
  if (first === undefined)
    return badModel(`It changes ${shown(name)}, and the model has no matrix ${[...new Set(named)].join(' or ')}.`)
  const { rows: found, columns: wide } = base.needTensor(`${first}.weight`)
  return badModel(
    `Its ${shown(name)} is made for a matrix of ${columns} x ${rows}, and ${first} of the model has ${wide} x ${found}.`,
  )
}
