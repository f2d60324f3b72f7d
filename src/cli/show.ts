import { OrielError } from '../errors.ts'
import {
  type CatalogueEntry,
  entryOf,
  estimatedBytes,
  factsOf,
  findModel,
  type ModelCard,
  type ModelFacts,
} from '../models/index.ts'
import { visionFamilies } from '../vision/index.ts'
import { bytesText, countText, table } from './figures.ts'
import { imageTokensOf } from './image-tokens.ts'
import { modelsConfig } from './settings.ts'

export interface ShowFlags {
  modelsDir?: string
  mmproj?: string
}

/** The context that the estimate of memory is for, where the model takes as much. */
const usualContext = 8192
/** `oriel show`: what a model is and what it needs. @throws OrielError with one sentence for the person */
export async function show(name: string, { modelsDir, mmproj }: ShowFlags): Promise<void> {
  process.stdout.write(table(await rowsOf(name, modelsDir, mmproj)))
}

async function rowsOf(name: string, modelsDir: string | undefined, mmproj: string | undefined): Promise<string[][]> {
  const entry = entryOf(name)
  try {
    const card = await findModel(name, mmproj, modelsConfig(modelsDir))
    const facts = await factsOf(card)
    const { architecture, layers, quantization, parameters, licence, files } = facts
    return [
      ['name', card.id],
      ['also', card.aliases.join(', ')],
      ['title', card.title],
      ['architecture', `${architecture}, ${layers} layers`],
      ['parameters', countText(parameters)],
      ['quantization', quantization],
      ['context', `${card.contextTokens} tokens`],
      ...(await visionRows(facts, card.projector)),
      ['memory', memoryText(card)],
      ['licence', licence || (entry?.licence ?? 'not said')],
      [
        'recommended',
        Object.entries(card.sampling)
          .map(([key, value]) => `${key} ${Number(value.toFixed(3))}`)
          .join(', '),
      ],
      ...files.map(({ file, bytes }, at) => [at === 0 ? 'files' : '', `${file} (${bytesText(bytes)})`]),
    ].filter(([, text]) => text !== '')
  } catch (error) {
    if (entry === undefined || !(error instanceof OrielError) || error.code !== 'model_not_found') throw error
    return entryRows(entry)
  }
}

async function visionRows({ vision }: ModelFacts, projector: string | null): Promise<string[][]> {
  if (vision === null || projector === null) return [['pictures', 'none: it has no vision file']]
  const size = vision.imageSize > 0 ? `, ${vision.imageSize} x ${vision.imageSize} pixels at a time` : ''
  const family = `${vision.family}, ${countText(vision.parameters)} parameters${size}`
  if (!visionFamilies.includes(vision.family)) return [['vision', `${family}; this version does not run it`]]
  const tokens = (await imageTokensOf(projector)).map(({ width, height, low, auto, high }, at) => [
    at === 0 ? 'image tokens' : '',
    `${width} x ${height}: ${low} low, ${auto} auto, ${high} high`,
  ])
  return [['vision', family], ...tokens]
}

function memoryText({ contextTokens, size: { decoderBytes, visionBytes, bytesPerToken } }: ModelCard): string {
  const weights = decoderBytes + visionBytes
  const tokens = Math.min(contextTokens, usualContext)
  const context = bytesPerToken * tokens
  return `about ${bytesText(weights + context)}: weights ${bytesText(weights)}, ${tokens} tokens of context ${bytesText(context)}`
}

const entryRows = (entry: CatalogueEntry): string[][] => [
  ['name', entry.id],
  ['also', entry.aliases.join(', ')],
  ['title', entry.title],
  ['here', `no: oriel pull ${entry.id} fetches it`],
  ['repository', entry.repo],
  ['parameters', countText(entry.parameters * 1e9)],
  ['quantization', entry.quant],
  ['context', `${entry.contextTokens} tokens`],
  ['vision', visionFamilies.includes(entry.family) ? entry.family : `${entry.family}; this version does not run it`],
  ['memory', `about ${bytesText(estimatedBytes(entry))} and what the context takes`],
  ['licence', entry.licence],
  ['good for', entry.use],
]
