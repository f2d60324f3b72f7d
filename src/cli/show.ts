import { openImageArchitecture, tilesOf } from '../encoders/index.ts'
import {
  type CatalogueEntry,
  entryOf,
  estimatedBytes,
  type Library,
  type ModelCard,
  type ModelFacts,
  NotPulled,
} from '../models/index.ts'
import { bytesText, countText, table } from './figures.ts'
import { type Flags, libraryOf } from './settings.ts'

/** The context for the estimate of memory, if the model takes that much. */
const usualContext = 8192

/** Typical images: a thumbnail, a screen, a photo, a page. */
const sizes = [
  [512, 512],
  [1280, 720],
  [4000, 3000],
  [1240, 1754],
] as const

/** `oriel show`: describes a model and its needs. @throws OrielError with one sentence for the person */
export async function show(name: string, flags: Flags): Promise<void> {
  process.stdout.write(table(await rowsOf(name, flags)))
}

async function rowsOf(name: string, flags: Flags): Promise<string[][]> {
  const library = libraryOf(flags)
  try {
    const card = await library.find(name, flags.mmproj)
    const facts = await library.facts(card)
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
      ['licence', licence || (entryOf(name)?.licence ?? 'unknown')],
      [
        'recommended',
        Object.entries(card.sampling)
          .map(([key, value]) => `${key} ${Number(value.toFixed(3))}`)
          .join(', '),
      ],
      ...files.map(({ file, bytes }, at) => [at === 0 ? 'files' : '', `${file} (${bytesText(bytes)})`]),
    ].filter(([, text]) => text !== '')
  } catch (error) {
    if (!(error instanceof NotPulled)) throw error
    return entryRows(error.entry, library)
  }
}

async function visionRows({ vision }: ModelFacts, projector: string | null): Promise<string[][]> {
  if (vision === null || projector === null) return [['images', 'none: it has no vision file']]
  const size = vision.imageSize > 0 ? `, ${vision.imageSize} x ${vision.imageSize} pixels at a time` : ''
  const family = `${vision.family}, ${countText(vision.parameters)} parameters${size}`
  if (!vision.supported) return [['vision', `${family}; not supported by this version`]]
  const architecture = await openImageArchitecture(projector)
  const tokens = sizes.map(([width, height], at) => {
    const counts = (['low', 'auto', 'high'] as const).map((detail) => {
      const tiles = tilesOf(architecture.plan({ width, height }, detail))
      return `${tiles.reduce((sum, tile) => sum + tile.tokens, 0)} ${detail}`
    })
    return [at === 0 ? 'image tokens' : '', `${width} x ${height}: ${counts.join(', ')}`]
  })
  return [['vision', family], ...tokens]
}

function memoryText({ contextTokens, size: { decoderBytes, visionBytes, bytesPerToken } }: ModelCard): string {
  const weights = decoderBytes + visionBytes
  const tokens = Math.min(contextTokens, usualContext)
  const context = bytesPerToken * tokens
  return `about ${bytesText(weights + context)}: weights ${bytesText(weights)}, ${tokens} tokens of context ${bytesText(context)}`
}

const entryRows = (entry: CatalogueEntry, library: Library): string[][] => [
  ['name', entry.id],
  ['also', entry.aliases.join(', ')],
  ['title', entry.title],
  ['downloaded', `no: oriel pull ${entry.id} downloads it`],
  ['repository', entry.repo],
  ['parameters', countText(entry.parameters * 1e9)],
  ['quantization', entry.quant],
  ['context', `${entry.contextTokens} tokens`],
  ['vision', library.supports(entry.family) ? entry.family : `${entry.family}; not supported by this version`],
  ['memory', `about ${bytesText(estimatedBytes(entry))} plus the context`],
  ['licence', entry.licence],
  ['good for', entry.use],
]
