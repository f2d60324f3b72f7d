import { createHash } from 'node:crypto'
import { access, readdir, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { startThread } from '../children/index.ts'
import type { ModelsConfig } from '../config.ts'
import { badModel, OrielError } from '../errors.ts'
import { cacheFolder } from '../home.ts'
import { joined } from '../joined.ts'
import { makeFolder } from '../make-folder.ts'
import { programFile } from '../places.ts'
import { type AdapterFiles, adapterAt, adapterFiles, adapterIn, readSidecar, stampOf } from './adapter-files.ts'
import { checkAdapterFit, readGgufAdapter } from './adapter-fit.ts'
import type { ModelFiles } from './card.ts'
import { type LocalModel, named } from './local.ts'
import type { Conversion } from './peft/convert.ts'
import { nameOfPlan, type PlannedTensor, planPeft, readPeft } from './peft/plan.ts'

/** A LoRA adapter that can be used, as its files describe it. */
export interface AdapterCard {
  /** How requests name it. */
  id: string
  aliases: readonly string[]
  /** The id of the model that it was made for, if a file says so; null: any of `fits`. */
  base: string | null
  /** The ids of the models on this machine whose matrices it fits, that base first. Never empty. */
  fits: readonly string[]
  /** `general.architecture` of its decoder; `clip` if it has only a vision half. */
  architecture: string
  /** Path of the GGUF for llama.cpp. */
  decoder: string | null
  /** Path of the GGUF for the encoder of images: `TENSOR.lora_a` and `.lora_b`. */
  vision: string | null
  /** Of its matrices in memory. */
  bytes: number
  /** The largest of any matrix. */
  rank: number
  alpha: number
  /** aLoRA: the tokens behind which it works; empty: everywhere. */
  invocation: readonly number[]
  /** Differs when any of its files has been changed or replaced. */
  version: string
  /** The modification time of its files, in seconds since 1970. */
  created: number
}

export interface Adapters {
  /** Every adapter on this machine, and those that cannot be used. */
  list(): Promise<{ adapters: AdapterCard[]; broken: { id: string; error: OrielError }[] }>
  /**
   * Finds an adapter by one of its names. What came as PEFT is converted first, if it is not kept from before.
   * @throws OrielError `precondition_failed` with the reason, if it cannot be used
   */
  find(name: string): Promise<AdapterCard | undefined>
  /**
   * An adapter for a model, whatever other models it fits.
   * @param name one of its names, or the path of its folder or of its GGUF file
   * @throws OrielError `not_found`; `precondition_failed` with the reason, if it cannot be used with the model
   */
  findFor(base: ModelFiles, name: string): Promise<AdapterCard>
}

/** @param models those of this machine */
export function adaptersOf(config: ModelsConfig, models: () => Promise<LocalModel[]>): Adapters {
  const known = new Map<string, { stamp: string; read: Promise<Read> }>()
  /** Adapters by the names that they were found by. */
  const remembered = new Map<string, Found>()

  const readAll = joined(async (): Promise<(Read & Pick<Found, 'files' | 'bases' | 'stamp'>)[]> => {
    const [all, bases] = await Promise.all([adapterFiles(config), models()])
    const stampOfBases = await stampOf(filesOf(bases))
    const names = new Set(bases.flatMap(({ id, aliases }) => [id, ...aliases]))
    const found: (Read & Pick<Found, 'files' | 'bases' | 'stamp'>)[] = []
    for (const files of all) {
      const stamp = `${await stampOf(watched(files))}\n${stampOfBases}`
      const before = known.get(files.id)
      const read = before?.stamp === stamp ? before.read : readOne(files, bases, names)
      known.set(files.id, { stamp, read })
      found.push({ ...(await read), files, bases, stamp })
    }
    for (const id of known.keys()) if (!all.some((files) => files.id === id)) known.delete(id)
    return found
  })

  return {
    async list() {
      const all = await readAll()
      return {
        adapters: all.flatMap((one) => ('card' in one ? [one.card] : [])),
        broken: all.flatMap((one) => ('error' in one ? [{ id: one.files.id, error: one.error }] : [])),
      }
    },
    async find(name) {
      const before = remembered.get(name)
      // Folders are not searched for each of the requests that name it.
      if (before !== undefined && (await stampNow(before)) === before.stamp) return ready(before)
      remembered.delete(name)
      const all = await readAll()
      const found = all.find(({ files }) => files.id === name) ?? all.find(({ files }) => files.aliases.includes(name))
      if (found === undefined) return undefined
      if ('error' in found) throw unusable(found.files.id, found.error)
      remembered.set(name, found)
      return ready(found)
    },
    async findFor(base, name) {
      const all = await adapterFiles(config)
      const files = all.find(({ id }) => id === name) ?? all.find(({ aliases }) => aliases.includes(name))
      const found = files ?? (await adapterAt(name))
      if (found === null)
        throw new OrielError(
          'not_found',
          `There is no adapter ${name}. ${all.length === 0 ? 'There are none on this machine.' : `The adapters are: ${all.map(({ id }) => id).join(', ')}.`}`,
          {
            code: 'model_not_found',
          },
        )
      const read = await readOne(found, [base], new Set(), base)
      if ('error' in read) throw unusable(found.id, read.error)
      return ready(read)
    },
  }
}

/**
 * Checks files that are not yet among the adapters, as `find` does.
 * @throws OrielError `precondition_failed` with the reason
 */
export async function checkAdapter(folder: string, name: string, models: readonly LocalModel[]): Promise<void> {
  const files = await adapterIn(folder, name)
  if (files === null)
    throw unusable(name, badModel('It has neither GGUF files nor adapter_config.json with adapter_model.safetensors.'))
  const read = await readOne(files, models, new Set(models.flatMap(({ id, aliases }) => [id, ...aliases])))
  if ('error' in read) throw unusable(name, read.error)
  await ready(read)
}

type Read = Readable | { error: OrielError }

interface Readable {
  card: AdapterCard
  conversions: readonly Conversion[]
}

/** An adapter that can be used, and what it was made from. */
interface Found extends Readable {
  files: AdapterFiles
  /** The models that there were. */
  bases: readonly LocalModel[]
  /** Of all of these files. */
  stamp: string
}

async function ready({ card, conversions }: Readable): Promise<AdapterCard> {
  await converted(card.id, conversions)
  return card
}

const stampNow = async ({ files, bases }: Found): Promise<string> =>
  `${await stampOf(watched(files))}\n${await stampOf(filesOf(bases))}`

const filesOf = (models: readonly LocalModel[]): string[] =>
  models.flatMap(({ decoder, projector }) => [decoder, projector ?? ''])

/** What changes if a file of an adapter changes, comes or goes. */
const watched = ({ paths, origin }: AdapterFiles): string[] => [
  ...paths,
  ...(origin.kind === 'folder' && origin.own !== null ? [origin.own] : []),
]

/** @param base the model to read it for, whatever the files say of theirs */
async function readOne(
  files: AdapterFiles,
  models: readonly ModelFiles[],
  names: ReadonlySet<string>,
  base?: ModelFiles,
): Promise<Read> {
  try {
    if (names.has(files.id)) throw new OrielError('invalid', 'A model has the same name.', { code: 'name_taken' })
    return await cardOf(files, models, base)
  } catch (error) {
    if (error instanceof OrielError) return { error }
    if (!(error instanceof Error && 'code' in error)) throw error
    // It may be removed at the same time.
    return { error: new OrielError('invalid', `A file of it cannot be read: ${error.code}.`, { code: 'bad_model' }) }
  }
}

async function cardOf(files: AdapterFiles, models: readonly ModelFiles[], given: ModelFiles | undefined) {
  const { id, aliases, source, paths } = files
  const [sidecar, stamp] = [given === undefined ? await readSidecar(files) : { base: given.id }, await stampOf(paths)]
  const version = shortHash(stamp)
  const created = Math.floor(Math.max(0, ...stamp.split('\n').map((line) => Number(line.split(' ')[2] ?? 0))) / 1000)
  const common = { id, aliases, version, created }
  if ('gguf' in source) {
    const { base: trainedOn, ...facts } = await readGgufAdapter(source.gguf)
    const { base, fitting } = await fittingOf(models, sidecar.base ?? null, trainedOn, (model) =>
      checkAdapterFit({ ...facts, base: trainedOn }, model),
    )
    return { card: { ...common, ...facts, base, fits: fitting.map(({ model }) => model.id) }, conversions: [] }
  }
  const peft = await readPeft(source.peft)
  const { base, fitting } = await fittingOf(models, sidecar.base ?? null, peft.config.base, async (model) => {
    const plan = await planPeft(peft, model)
    return { ...plan, name: await nameOfPlan(plan) }
  })
  const [{ fit: plan }] = fitting
  const { architecture, alpha, rank, invocation } = plan
  const of = (half: string, architecture: string, tensors: readonly PlannedTensor[]): Conversion | null => {
    if (tensors.length === 0) return null
    const hash = shortHash(`${format} ${version} ${plan.name}`)
    const target = path.join(keptFolder(), `${id}-${hash}${half}.gguf`)
    return { source: peft.file, target, architecture, name: id, alpha, invocation, tensors }
  }
  const [decoder, vision] = [of('', architecture, plan.decoder), of('-vision', 'clip', plan.vision)]
  const numbers = [...plan.decoder, ...plan.vision].reduce((sum, { shape: [a, b] }) => sum + a * b, 0)
  const card: AdapterCard = {
    ...common,
    base,
    fits: fitting.filter(({ fit }) => fit.name === plan.name).map(({ model }) => model.id),
    ...{ architecture: decoder === null ? 'clip' : architecture, alpha, rank, invocation, bytes: numbers * 4 },
    decoder: decoder?.target ?? null,
    vision: vision?.target ?? null,
  }
  return { card, conversions: [decoder, vision].filter((one) => one !== null) }
}

/**
 * The models that an adapter fits: only the one that its sidecar names, those that have the name of what it was trained on,
 * or else all.
 * @throws OrielError `invalid` with the reason if it fits none
 */
async function fittingOf<T>(
  models: readonly ModelFiles[],
  wanted: string | null,
  trainedOn: string | null,
  attempt: (model: ModelFiles) => Promise<T>,
): Promise<{ base: string | null; fitting: readonly [Fitting<T>, ...Fitting<T>[]] }> {
  const own = wanted === null ? undefined : named(wanted, models)
  if (wanted !== null && own === undefined)
    throw new OrielError('invalid', `It is for ${wanted}, which is not on this machine.`, { code: 'base_missing' })
  const namesakes = trainedOn === null ? [] : models.filter((model) => isNamed(model, trainedOn))
  const candidates = own === undefined ? [...new Set([...namesakes, ...models])] : [own]
  const fitting: Fitting<T>[] = []
  let first: OrielError | undefined
  for (const model of candidates) {
    try {
      fitting.push({ model, fit: await attempt(model) })
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      first ??= error
    }
    // Each takes some ms.
    await nextTurn()
  }
  const [best, ...others] = fitting
  if (best === undefined) {
    const [candidate] = candidates
    const among = candidates.length > 1 && namesakes.length === 0 ? 'It fits no model on this machine' : undefined
    if (candidate === undefined)
      throw new OrielError('invalid', 'There is no model on this machine.', { code: 'base_missing' })
    const reason = first?.message ?? ''
    throw new OrielError(
      'invalid',
      among === undefined ? `It does not fit ${candidate.id}. ${reason}` : `${among}; not ${candidate.id}: ${reason}`,
      { code: first?.code ?? 'bad_model' },
    )
  }
  const isOwn = own !== undefined || namesakes.includes(best.model)
  return { base: isOwn ? best.model.id : null, fitting: [best, ...others] }
}

interface Fitting<T> {
  readonly model: ModelFiles
  readonly fit: T
}

/** Whether a model has the name of what an adapter was trained on, whatever its owner and its quantization. */
const isNamed = ({ id, aliases }: ModelFiles, trainedOn: string): boolean =>
  [id, ...aliases].some((name) => plainName(name) === plainName(trainedOn))

const plainName = (name: string): string =>
  (name.replace(/\/+$/, '').split('/').at(-1) ?? '')
    .toLowerCase()
    .replace(/:.*$/, '')
    .replace(/[-_.](ud-)?(i?q\d\w*|bf16|f16|f32)$/, '')
    .replace(/[-_.]gguf$/, '')

/** To be increased when the same plan stands for other files. */
const format = 1

/** What was made of adapters in the format of PEFT. It may be deleted at any time. */
const keptFolder = (): string => path.join(cacheFolder(), 'adapters')

const converting = new Map<string, Promise<void>>()

/** Makes what is not kept, on a thread of its own, once for all who ask. */
async function converted(id: string, conversions: readonly Conversion[]): Promise<void> {
  const missing: Conversion[] = []
  for (const conversion of conversions) if (!(await isThere(conversion.target))) missing.push(conversion)
  if (missing.length === 0) return
  for (const conversion of missing) {
    const { target } = conversion
    const running = converting.get(target) ?? convertOn(conversion).finally(() => converting.delete(target))
    converting.set(target, running)
    await running.catch((error: unknown) => {
      throw unusable(id, error)
    })
  }
  const kept = conversions.map(({ target }) => path.basename(target))
  await forgetKept(id, kept)
}

async function convertOn(conversion: Conversion): Promise<void> {
  await makeFolder(path.dirname(conversion.target))
  const thread = startThread(programFile('models/peft/convert-thread'), [conversion])
  await new Promise<void>((resolve, reject) => {
    thread.once('error', reject)
    thread.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`the thread ended with ${code}`))))
  })
}

/** Removes what was made of an adapter. Whoever has loaded it has it in memory. @param others names of files that stay */
export async function forgetKept(id: string, others: readonly string[] = []): Promise<void> {
  const names = await readdir(keptFolder()).catch((): string[] => [])
  for (const name of names) {
    const file = path.join(keptFolder(), name)
    const rest = name.startsWith(`${id}-`) ? name.slice(id.length + 1) : ''
    const isOld = /^[0-9a-f]{24}(-vision)?\.gguf$/.test(rest) && !others.includes(name)
    // A process that died has left it.
    const isUnfinished = /^[0-9a-f]{24}(-vision)?\.gguf\.[0-9a-f-]{36}\.new$/.test(rest) && (await isAbandoned(file))
    if (isOld || isUnfinished) await rm(file, { force: true })
  }
}

/** Age at which an unfinished file is taken for abandoned, in ms. */
const abandonedMs = 3_600_000

const isAbandoned = (file: string): Promise<boolean> =>
  stat(file).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > abandonedMs,
    () => false,
  )

const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  )

/** @param error `invalid` for its files, and anything for a conversion that failed */
function unusable(id: string, error: unknown): OrielError {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const why =
    error instanceof OrielError ? error.message : `It cannot be converted${code === undefined ? '' : `: ${code}`}.`
  return new OrielError('precondition_failed', `The adapter ${id} cannot be used. ${why}`, {
    param: 'model',
    code: 'adapter_unusable',
    cause: error,
  })
}

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 24)
