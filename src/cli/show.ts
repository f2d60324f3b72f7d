import { chosenFor, formCounts, isChosen, type Modality } from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import { weightsFolder } from '../home.ts'
import { configOf } from '../load-config.ts'
import { details, imageTokens } from '../machine/index.ts'
import {
  type AdapterCard,
  type CatalogueEntry,
  type EmbeddingFacts,
  type EncoderFacts,
  entryOf,
  estimatedBytes,
  type Library,
  type ModelCard,
  type ModelFacts,
  machineOfReference,
  NotPulled,
} from '../models/index.ts'
import { availableProcessors } from '../processors.ts'
import { bytesText } from '../sizes.ts'
import { elsewhereJson, elsewhereRows, modelElsewhere } from './elsewhere.ts'
import { countText, table, tokensText } from './figures.ts'
import { estimatesHere, type Flags, libraryOf } from './settings.ts'

/** Typical images: a thumbnail, a screen, a photo, a page. */
const sizes = [
  { width: 512, height: 512 },
  { width: 1280, height: 720 },
  { width: 4000, height: 3000 },
  { width: 1240, height: 1754 },
]

/** `oriel show`: describes a model and its needs, or an adapter. @throws OrielError with one sentence for the person */
export async function show(name: string, { json, ...flags }: Flags & { json?: boolean }): Promise<void> {
  const library = libraryOf(flags)
  const { adapters, broken } = await library.adapters()
  const adapter = adapters.find(({ id, aliases }) => id === name || aliases.includes(name))
  const unusable = broken.find(({ id }) => id === name)?.error
  if (unusable !== undefined) throw unusable
  if (adapter !== undefined)
    return json ? print(adapterJson(adapter)) : void process.stdout.write(table(adapterRows(adapter)))
  const found = await library.find(name, flags.mmproj).catch(async (error: unknown) => {
    if (!(error instanceof OrielError) || error.code !== 'model_not_found') throw error
    const elsewhere = await modelElsewhere(name)
    if (elsewhere !== undefined) return elsewhere
    // A name of the catalogue may be that of a model elsewhere.
    if (error instanceof NotPulled) return error.entry
    throw error
  })
  if ('upstreams' in found)
    return json ? print(elsewhereJson(found)) : void process.stdout.write(table(elsewhereRows(found)))
  if (!('decoder' in found))
    return json ? print(entryJson(found, library)) : void process.stdout.write(table(await entryRows(found, library)))
  const facts = await library.facts(found)
  if (json) print(cardJson(found, facts))
  else process.stdout.write(table(await rowsOf(name, found, facts, library)))
}

const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)

async function rowsOf(name: string, card: ModelCard, facts: ModelFacts, library: Library): Promise<string[][]> {
  const { architecture, layers, quantization, parameters, licence, files } = facts
  return [
    ['name', card.id],
    ['also', card.aliases.join(', ')],
    ['title', card.title],
    ['architecture', `${architecture}, ${layers} layers`],
    ['parameters', countText(parameters)],
    ['quantization', `${quantization}: ${bitsText(card, facts)}`],
    ['context', tokensText(card.contextTokens)],
    ...(card.embedding === null
      ? [...(await visionRows(facts, card.projector)), ...audioRows(facts, card.projector)]
      : [['embeds', embeddingText(card.embedding)]]),
    ['memory', (await estimatesHere(library)).memoryOf(card)],
    ['licence', licence || (entryOf(name)?.licence ?? 'unknown')],
    [
      'recommended',
      Object.entries(card.sampling)
        .map(([key, value]) => `${key} ${Number(value.toFixed(3))}`)
        .join(', '),
    ],
    ...files.map(({ file, bytes }, at) => [at === 0 ? 'files' : '', `${file} (${bytesText(bytes)})`]),
  ].filter(([, text]) => text !== '')
}

const adapterJson = ({ decoder, vision, invocation, ...card }: AdapterCard) => ({
  ...{ name: card.id, aliases: card.aliases, models: card.fits, base: card.base, architecture: card.architecture },
  ...{ rank: card.rank, alpha: card.alpha, bytes: card.bytes, invocation_tokens: invocation },
  ...{ answers: decoder !== null, images: vision !== null },
})

const adapterRows = ({ decoder, vision, ...card }: AdapterCard): string[][] =>
  [
    ['name', card.id],
    ['also', card.aliases.join(', ')],
    ['adapter of', card.fits.join(', ')],
    ['architecture', card.architecture],
    ['rank', `${card.rank}, alpha ${Number(card.alpha.toFixed(3))}`],
    ['changes', [decoder && 'answers', vision && 'what the model sees of images'].filter(Boolean).join(', ')],
    ['begins after', card.invocation.length > 0 ? `the tokens ${card.invocation.join(', ')} (aLoRA)` : ''],
    ['memory', bytesText(card.bytes)],
  ].filter(([, text]) => text !== '')

const embeddingText = ({ dimensions, pooling }: EmbeddingFacts): string =>
  `texts, in ${dimensions} numbers (${poolings[pooling]}); it does not answer`

const poolings = { mean: 'the mean of all tokens', cls: 'the first token', last: 'the last token' } as const

/** The size of a weight of the decoder, which says more than the name of a type. */
function bitsText({ size }: ModelCard, { parameters, vision, audio }: ModelFacts): string {
  const ofEncoders = (vision?.parameters ?? 0) + (audio?.parameters ?? 0)
  const bits = (size.decoderBytes * 8) / Math.max(1, parameters - ofEncoders)
  return `${Number(bits.toFixed(1))} bits a weight`
}

/** How ONNX Runtime computes an encoder, and what that costs. */
function precisionText(projector: string, { inLayers }: EncoderFacts, modality: Modality): string {
  const { engine } = configOf({})
  if (engine.visionRuntime !== 'onnx') return ''
  if (!isChosen(engine.visionPrecision, inLayers))
    return engine.visionPrecision === 'int8' ? '8-bit integers' : '32-bit floats'
  const cache = { folder: weightsFolder(), mostBytes: engine.weightCacheBytes }
  const choice = chosenFor(projector, engine.threads || availableProcessors(), cache, modality)
  if (choice === undefined) return 'measured and chosen on this machine after the first load'
  const counts = Object.entries(formCounts(choice.forms)).map(([form, count]) => `${count} ${form}`)
  return `${counts.join(', ')}: error ${percent(choice.error)} (ggml ${percent(choice.ggml)}), ${choice.ratio.toFixed(2)} of the time of 32-bit floats`
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

const cardJson = (card: ModelCard, facts: ModelFacts) => ({
  ...{ name: card.id, aliases: card.aliases, title: card.title, downloaded: true },
  ...{ architecture: facts.architecture, layers: facts.layers, parameters: facts.parameters },
  ...{ quantization: facts.quantization, context_tokens: card.contextTokens },
  ...{ vision: facts.vision, audio: facts.audio },
  ...(card.embedding === null
    ? {}
    : { embedding: { dimensions: card.embedding.dimensions, pooling: card.embedding.pooling } }),
  ...{ bytes: card.bytes, files: facts.files, licence: facts.licence || null, recommended: card.sampling },
})

const entryJson = (entry: CatalogueEntry, library: Library) => ({
  ...{ name: entry.id, aliases: entry.aliases, title: entry.title, downloaded: false, repo: entry.repo },
  ...{ parameters: entry.parameters * 1e9, quantization: entry.quant, context_tokens: entry.contextTokens },
  vision: entry.sees === null ? null : { family: entry.sees, supported: library.supports(entry.sees) },
  audio: entry.hears === null ? null : { family: entry.hears, supported: library.supports(entry.hears) },
  ...{ bytes: estimatedBytes(entry), licence: entry.licence, use: entry.use },
  measured: measuredJson(entry),
})

async function visionRows({ vision }: ModelFacts, projector: string | null): Promise<string[][]> {
  if (projector === null) return [['images', 'none: it has no vision file']]
  if (vision === null) return [['images', 'none: its vision file has an audio encoder only']]
  if (!vision.supported) return [['vision', encoderText(vision)]]
  const size = vision.imageSize > 0 ? `, ${vision.imageSize} x ${vision.imageSize} pixels at a time` : ''
  const tokens = (await imageTokens(projector, sizes)).map((costs, at) => {
    const { width, height } = sizes[at] ?? {}
    const counts = details.map((detail) => `${costs[detail].tokens} ${detail}`)
    return [at === 0 ? 'image tokens' : '', `${width} x ${height}: ${counts.join(', ')}`]
  })
  const precision = precisionText(projector, vision, 'vision')
  return [['vision', `${encoderText(vision)}${size}`], ...tokens, ['precision', precision]]
}

function audioRows({ audio }: ModelFacts, projector: string | null): string[][] {
  if (audio === null || projector === null) return []
  const precision = audio.supported ? precisionText(projector, audio, 'audio') : ''
  return [
    ['audio', encoderText(audio)],
    ['audio precision', precision],
  ]
}

const encoderText = ({ family, parameters, supported }: EncoderFacts): string =>
  `${family}, ${countText(parameters)} parameters${supported ? '' : '; not supported by this version'}`

/** null: nobody has measured it. */
const measuredJson = ({ measured }: CatalogueEntry) =>
  measured
    ? { image_seconds: measured.imageSeconds, tokens_per_second: measured.tokensPerSecond, machine: machineOfReference }
    : null

const entryRows = async (entry: CatalogueEntry, library: Library): Promise<string[][]> =>
  [
    ['name', entry.id],
    ['also', entry.aliases.join(', ')],
    ['title', entry.title],
    ['downloaded', `no: oriel pull ${entry.id} downloads it`],
    ['repository', entry.repo],
    ['parameters', countText(entry.parameters * 1e9)],
    ['quantization', entry.quant],
    ['context', tokensText(entry.contextTokens)],
    ['vision', familyText(entry.sees, library)],
    ['audio', familyText(entry.hears, library)],
    ['files', `about ${bytesText(estimatedBytes(entry))}`],
    ['memory', `estimated: ${(await estimatesHere(library)).memoryOf(entry)}`],
    ['speed', speedText(entry)],
    ['licence', entry.licence],
    ['good for', entry.use],
  ].filter(([, text]) => text !== '')

const speedText = ({ measured }: CatalogueEntry): string =>
  measured === undefined
    ? ''
    : `${measured.imageSeconds} s to the first word about an image of 512 x 512 pixels, then ${measured.tokensPerSecond} tokens/s, on ${machineOfReference}`

function familyText(family: string | null, library: Library): string {
  if (family === null) return ''
  return library.supports(family) ? family : `${family}; not supported by this version`
}
