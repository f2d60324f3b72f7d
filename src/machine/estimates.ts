import { memoryText, type Planned, type PlannedConfig, planMemory } from '../deployments/index.ts'
import { isChosen, needImageArchitecture, tilesOf } from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import { type CatalogueEntry, estimatedBytes, estimatedSize, type Library, type ModelCard } from '../models/index.ts'
import { availableProcessors } from '../processors.ts'
import { operationsHere } from './speed.ts'

/** The image of the estimate: a screen. */
export const usualImage = { width: 1280, height: 720 }
/**
 * Parts of the measured speed that are reached: by the encoder, whose attention is not counted, and by the decoder during
 * prefill. From measurements with SmolVLM-256M and Qwen2.5-VL-3B on two cores: 0.7 to 1 and 0.4 to 0.7.
 */
const reached = { encoder: 0.85, decoder: 0.5 }
/** The time of an encoding in forms that were chosen, relative to one in floats. */
const chosenShare = 0.55
/** Tokens of a question and of the model's own format. */
const questionTokens = 40

/** What this machine can do with a model. */
export interface Estimates {
  /** Bytes that models may take together. */
  readonly memory: number
  /** Whether a GPU computes: its speed is not measured. */
  readonly gpu: boolean
  /** Whether a model fits, and the bytes that it takes. Estimated for an entry of the catalogue. */
  fits(model: ModelCard | CatalogueEntry): { fits: boolean; bytes: number }
  /** What it takes, or why it never fits. */
  memoryOf(model: ModelCard | CatalogueEntry): string
  /** Seconds from a question about a usual image to the first word of its answer; null if it is not known. */
  secondsFor(card: ModelCard): Promise<number | null>
}

export interface Resources {
  readonly engine: PlannedConfig
  /** Bytes that models may take together. */
  readonly memory: number
  readonly gpu: boolean
}

export function estimatesFor(library: Pick<Library, 'facts'>, { engine, memory, gpu }: Resources): Estimates {
  /** Measured once, when it is asked for. */
  let operations: Promise<number | null> | undefined
  return {
    memory,
    gpu,
    fits(model) {
      try {
        return { fits: true, bytes: planMemory(planned(model), engine, memory, gpu).total }
      } catch (error) {
        if (!(error instanceof OrielError)) throw error
        return { fits: false, bytes: 'decoder' in model ? model.bytes : estimatedBytes(model) }
      }
    },
    memoryOf(model) {
      try {
        return memoryText(planMemory(planned(model), engine, memory, gpu))
      } catch (error) {
        if (!(error instanceof OrielError)) throw error
        return error.message
      }
    },
    async secondsFor(card) {
      if (gpu || card.projector === null) return null
      operations ??= operationsHere(engine.threads || availableProcessors())
      const speed = await operations
      if (speed === null) return null
      const share = isChosen(engine.visionPrecision, card.size.visionLayers) ? chosenShare : 1
      return secondsAt(speed / share, speed, card, (await library.facts(card)).activeParameters)
    },
  }
}

const planned = (model: ModelCard | CatalogueEntry): Planned =>
  'decoder' in model ? model : { ...model, size: estimatedSize(model) }

/**
 * @param encoder floating-point operations a second of the encoder
 * @param speed the same of the decoder
 * @param active parameters of the decoder that compute a token
 */
async function secondsAt(
  encoder: number,
  speed: number,
  { projector, size }: ModelCard,
  active: number,
): Promise<number | null> {
  if (projector === null) return null
  const architecture = await needImageArchitecture(projector).catch(() => null)
  if (architecture === null) return null
  const tiles = tilesOf(architecture.plan(usualImage, 'auto'))
  const patches = tiles
    .map((tile) => architecture.grid(tile))
    .reduce((sum, { rows, columns }) => sum + rows * columns, 0)
  const tokens = tiles.reduce((sum, tile) => sum + tile.tokens, questionTokens)
  const encoding = (2 * size.visionParameters * patches) / (encoder * reached.encoder)
  const prefill = (2 * active * tokens) / (speed * reached.decoder)
  return encoding + prefill
}
