import { type Estimates, usualImage } from '../machine/index.ts'
import { type CatalogueEntry, catalogue, estimatedBytes, familiesOf, type Library, purposeOf } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import { advised } from './advice.ts'
import { takesText, upstreamJson, upstreamRows, upstreamsHere } from './elsewhere.ts'
import { aboutText, table, tokensText } from './figures.ts'
import { estimatesHere, type Flags, libraryOf } from './settings.ts'

interface ListFlags extends Flags {
  catalogue?: boolean
  json?: boolean
}

/** `oriel list`: the models and adapters of this machine, or those of the catalogue, one in each line. */
export async function list({ catalogue: known, json, ...flags }: ListFlags): Promise<void> {
  const library = libraryOf(flags)
  const machine = await estimatesHere(library)
  const { rows, models, notes } = known ? pullable(library, machine) : await local(library, machine)
  const [adapters, upstreams] = known ? [[], []] : await Promise.all([adaptersHere(library), upstreamsHere()])
  for (const { error } of upstreams) if (error !== null) process.stderr.write(`${error.message}\n`)
  const shown = known ? { models } : { models, adapters, upstreams: upstreams.map(upstreamJson) }
  if (json) return void process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
  process.stdout.write(table(rows))
  if (adapters.length > 0) process.stdout.write(`\n${table(adapterRows(adapters))}`)
  if (upstreams.some(({ models }) => models.length > 0)) process.stdout.write(`\n${table(upstreamRows(upstreams))}`)
  // What explains the table is for a person only.
  if (process.stdout.isTTY) process.stdout.write(notes)
}

async function local(library: Library, machine: Estimates) {
  const { models, broken } = await library.list()
  const listed = await Promise.all(
    models.map(async (card) => ({ card, ...machine.fits(card), seconds: await machine.secondsFor(card) })),
  )
  for (const { id, error } of broken) process.stderr.write(`${id} cannot be served: ${advised(error)}\n`)
  return {
    rows: [
      ['NAME', 'TITLE', 'TAKES', 'CONTEXT', 'SIZE', 'FITS', 'AN IMAGE TAKES'],
      ...listed.map(({ card, fits, seconds }) => [
        card.id,
        card.title,
        card.embedding !== null ? 'text, to embed' : takesText(inputsOf(card)),
        tokensText(card.contextTokens),
        bytesText(card.bytes),
        fits ? 'yes' : 'no',
        seconds === null ? '' : aboutText(seconds),
      ]),
    ],
    models: listed.map(({ card, fits, bytes, seconds }) => ({
      ...{ id: card.id, aliases: card.aliases, title: card.title, inputs: inputsOf(card) },
      ...(card.embedding === null ? {} : { dimensions: card.embedding.dimensions }),
      ...{ context_tokens: card.contextTokens, bytes: card.bytes, fits, memory_bytes: bytes, image_seconds: seconds },
    })),
    notes: `FITS: models may take ${bytesText(machine.memory)} here. AN IMAGE TAKES: to the first word about ${usualImage.width} x ${usualImage.height} pixels, estimated from the measured speed of this ${machine.gpu ? 'machine; the speed of a GPU is not measured' : 'processor'}.\n`,
  }
}

async function adaptersHere(library: Library) {
  const { adapters, broken } = await library.adapters()
  for (const { id, error } of broken) process.stderr.write(`The adapter ${id} cannot be used: ${advised(error)}\n`)
  return adapters.map(({ id, aliases, fits, rank, alpha, bytes, decoder, vision }) => ({
    ...{ id, aliases, models: fits, rank, alpha, bytes },
    changes: [...(decoder === null ? [] : ['answers']), ...(vision === null ? [] : ['images'])],
  }))
}

const adapterRows = (adapters: Awaited<ReturnType<typeof adaptersHere>>): string[][] => [
  ['ADAPTER', 'OF', 'CHANGES', 'RANK', 'SIZE'],
  ...adapters.map(({ id, models, changes, rank, bytes }) => [
    id,
    models.join(', '),
    changes.join(', '),
    String(rank),
    bytesText(bytes),
  ]),
]

type Input = 'image' | 'audio'

const inputsOf = ({ sees, hears }: { sees: string | boolean | null; hears: string | boolean | null }): Input[] => [
  ...(sees ? (['image'] as const) : []),
  ...(hears ? (['audio'] as const) : []),
]

function pullable(library: Library, machine: Estimates) {
  const runs = (entry: CatalogueEntry): boolean => familiesOf(entry).every((family) => library.supports(family))
  return {
    rows: [
      ['NAME', 'TAKES', 'RUNS', 'SIZE', 'FITS', 'CONTEXT', 'LICENCE', 'FOR'],
      ...catalogue.map((entry) => [
        entry.id,
        takesText(inputsOf(entry)),
        runs(entry) ? 'yes' : 'not yet',
        `about ${bytesText(estimatedBytes(entry))}`,
        machine.fits(entry).fits ? 'yes' : 'no',
        tokensText(entry.contextTokens),
        entry.licence,
        purposeOf(entry),
      ]),
    ],
    models: catalogue.map((entry) => ({
      ...{ id: entry.id, aliases: entry.aliases, title: entry.title, repo: entry.repo, quantization: entry.quant },
      ...{ inputs: inputsOf(entry), runs: runs(entry), bytes: estimatedBytes(entry), ...needsOf(entry, machine) },
      ...{ context_tokens: entry.contextTokens, licence: entry.licence, use: entry.use, unverified: entry.unverified },
    })),
    notes: `FITS: models may take ${bytesText(machine.memory)} here. UNVERIFIED: its sizes or its repository are not checked against its maker's files. \`oriel pull NAME\` downloads one.\n`,
  }
}

function needsOf(entry: CatalogueEntry, machine: Estimates) {
  const { fits, bytes } = machine.fits(entry)
  return { fits, memory_bytes: bytes }
}
