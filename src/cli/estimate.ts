import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import path from 'node:path'
import { z } from 'zod'
import { configOf } from '../config.ts'
import { memoryBudget, memoryText, planMemory } from '../deployments/index.ts'
import { measureOperations, openImageArchitecture, tilesOf } from '../encoders/index.ts'
import { chooseDevice } from '../engine/index.ts'
import { OrielError } from '../errors.ts'
import { home } from '../home.ts'
import { parseJson } from '../json.ts'
import { createLogger } from '../log.ts'
import { type CatalogueEntry, estimatedBytes, type Library, type ModelCard } from '../models/index.ts'
import { availableProcessors } from '../processors.ts'

/** The image of the estimate: a screen. */
export const usualImage = { width: 1280, height: 720 }
/**
 * Parts of the measured speed that are reached: by the encoder, whose attention is not counted, and by the decoder during
 * prefill. From measurements with SmolVLM-256M and Qwen2.5-VL-3B on two cores: 0.7 to 1 and 0.4 to 0.7.
 */
const reached = { encoder: 0.85, decoder: 0.5 }
/** Tokens of a question and of the model's own format. */
const questionTokens = 40

/** What this machine can do with a model. */
export interface Machine {
  /** Bytes that models may take together. */
  memory: number
  /** Whether a GPU computes: its speed is not measured. */
  gpu: boolean
  /** Whether a model fits, and the bytes that it takes. */
  fits(card: ModelCard): { fits: boolean; bytes: number }
  /** What it takes, or why it never fits. */
  memoryOf(card: ModelCard): string
  /** The same for a model that is not here, estimated. */
  mayFit(entry: CatalogueEntry): boolean
  /** Seconds from a question about a usual image to the first word of its answer; null if it is not known. */
  secondsFor(card: ModelCard): Promise<number | null>
}

export async function thisMachine(library: Library): Promise<Machine> {
  const { engine, loading } = configOf({})
  const { device, gpus } = await chooseDevice(engine.gpu, createLogger('silent'))
  const gpu = device !== 'cpu'
  const memory = memoryBudget(
    loading,
    gpus.reduce((sum, { integrated, freeMemory }) => sum + (integrated ? 0 : freeMemory), 0),
  )
  let operations: Promise<number | null> | undefined
  return {
    memory,
    gpu,
    fits(card) {
      try {
        return { fits: true, bytes: planMemory(card, engine, memory, gpu).total }
      } catch (error) {
        if (!(error instanceof OrielError)) throw error
        return { fits: false, bytes: card.bytes }
      }
    },
    memoryOf(card) {
      try {
        return memoryText(planMemory(card, engine, memory, gpu))
      } catch (error) {
        if (!(error instanceof OrielError)) throw error
        return error.message
      }
    },
    mayFit: (entry) => estimatedBytes(entry) * 1.1 < memory,
    async secondsFor(card) {
      if (gpu || card.projector === null) return null
      operations ??= operationsHere(engine.threads || availableProcessors())
      const speed = await operations
      return speed === null ? null : secondsAt(speed, card, (await library.facts(card)).activeParameters)
    },
  }
}

/**
 * @param speed floating-point operations a second
 * @param active parameters of the decoder that compute a token
 */
async function secondsAt(speed: number, { projector, size }: ModelCard, active: number): Promise<number | null> {
  if (projector === null) return null
  const architecture = await openImageArchitecture(projector).catch(() => null)
  if (architecture === null) return null
  const tiles = tilesOf(architecture.plan(usualImage, 'auto'))
  const patches = tiles
    .map((tile) => architecture.grid(tile))
    .reduce((sum, { rows, columns }) => sum + rows * columns, 0)
  const tokens = tiles.reduce((sum, tile) => sum + tile.tokens, questionTokens)
  const encoding = (2 * size.visionParameters * patches) / (speed * reached.encoder)
  const prefill = (2 * active * tokens) / (speed * reached.decoder)
  return encoding + prefill
}

const measuredSchema = z.object({ machine: z.string(), operations: z.number().positive(), at: z.number() })
/** Age at which a measurement is repeated, in ms. */
const staleMs = 86_400_000

/** The measured speed is kept. When it is measured again, the higher one counts: other programs slow a measurement down. */
async function operationsHere(threads: number): Promise<number | null> {
  const machine = `${cpus()[0]?.model ?? ''}, ${threads} threads`
  const folder = path.join(process.env.XDG_CACHE_HOME || path.join(home(), '.cache'), 'oriel')
  const file = path.join(folder, 'speed.json')
  const { data } = measuredSchema.safeParse(parseJson(await readFile(file, 'utf8').catch(() => '')))
  const kept = data?.machine === machine ? data : undefined
  if (kept !== undefined && Math.abs(Date.now() - kept.at) < staleMs) return kept.operations
  const measured = await measureOperations(threads)
  if (measured === null) return null
  const operations = Math.max(measured, kept?.operations ?? 0)
  // Without a home that can be written it is measured each time.
  await mkdir(folder, { recursive: true }).catch(() => {})
  await writeFile(file, JSON.stringify({ machine, operations, at: Date.now() })).catch(() => {})
  return operations
}
