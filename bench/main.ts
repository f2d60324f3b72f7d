import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { RowReport } from './figures.ts'
import { emptyRequest, measureLimits } from './limits.ts'
import { machine } from './machine.ts'
import { clients, type Pair, warmUp } from './measures.ts'
import { type ModelName, modelFiles, modelNames } from './model-files.ts'
import { buildPeer } from './peer.ts'
import { type ModelReport, type Report, tableOf, writeReport } from './report.ts'
import { type Row, rows } from './rows.ts'
import { type Precision, type Settings, startOriel, startPeer } from './servers.ts'

/** Disturbed measurements are repeated, up to this many times the requested number in all. */
const attempts = 2

/** `npm run bench` compares Oriel with llama-server on the same files. See README.md. */
const command = new Command('bench')
  .description('measure Oriel against llama-server')
  .addOption(
    new Option('--rows <ids>', `rows to measure, separated by commas: ${rows.map(({ id }) => id).join(', ')}`)
      .argParser(rowsOf)
      .default(rows, 'all'),
  )
  .option('--model <names>', `models to measure, separated by commas: ${modelNames.join(', ')}`, modelsOf, [
    'smol',
    'pocket',
  ])
  .option('--runs <number>', 'measurements of each row', countOf, 5)
  .option('--threads <number>', 'threads of each server', countOf, availableParallelism())
  .action(bench)
await command.parseAsync()

interface Options {
  rows: readonly Row[]
  model: readonly ModelName[]
  runs: number
  threads: number
}

async function bench(options: Options): Promise<void> {
  const binary = await buildPeer()
  const { threads } = options
  const settings: Settings = { threads, contextTokens: 2048 * clients, clients }
  const date = new Date().toISOString().slice(0, 10)
  const report: Report = { date, machine: machine(), threads, limits: await measureLimits(threads), models: [] }
  for (const name of options.model) {
    const { id, title } = modelFiles(name)
    process.stdout.write(`\n${title}\n`)
    report.models.push({ id, title, ...(await measureModel(name, binary, settings, options)) })
  }
  writeReport(report)
  process.stdout.write(`\n${tableOf(report)}\n`)
}

async function measureModel(
  name: ModelName,
  binary: string,
  settings: Settings,
  { rows: wanted, runs }: Options,
): Promise<Pick<ModelReport, 'emptyRequest' | 'rows'>> {
  const model = modelFiles(name)
  const results = new Map<string, RowReport>()
  let empty = { oriel: Number.NaN, peer: Number.NaN }
  for (const precision of ['auto', 'fp32'] as const satisfies Precision[]) {
    const now = wanted.filter((row) => row.precision === precision)
    if (now.length === 0) continue
    const start = (cache?: string) => startOriel(model, settings, precision, cache)
    const startOther = () => startPeer(binary, model, settings)
    const pair: Pair = {
      model,
      threads: settings.threads,
      oriel: await start(),
      peer: await startOther(),
      startOriel: start,
      startPeer: startOther,
    }
    await warmUp(pair)
    empty = { oriel: await emptyRequest(pair.oriel), peer: await emptyRequest(pair.peer) }
    for (const row of now) results.set(row.id, await measureRow(row, pair, runs))
    await Promise.all([pair.oriel.stop(), pair.peer.stop()])
  }
  return { emptyRequest: empty, rows: wanted.flatMap(({ id }) => results.get(id) ?? []) }
}

async function measureRow(row: Row, pair: Pair, runs: number): Promise<RowReport> {
  const { id, what, figure, bar } = row
  const samples: RowReport['samples'] = []
  const clean = () => samples.filter(({ disturbed }) => !disturbed)
  for (let run = 0; clean().length < runs && run < runs * attempts; run++) {
    const sample = await row.measure(pair, run)
    samples.push(sample)
    const sides = [sample.oriel, sample.peer].map((side) => side?.toPrecision(4) ?? '').join(' ')
    process.stdout.write(`  ${id} ${sample.figure.toPrecision(3)} (${sides})${sample.disturbed ? ' disturbed' : ''}\n`)
  }
  return { id, what, figure, bar, samples: clean().length >= runs ? clean() : samples }
}

function rowsOf(text: string): Row[] {
  return text.split(',').map((id) => {
    const row = rows.find((one) => one.id === id)
    if (row === undefined) throw new InvalidArgumentError(`There is no row ${id}.`)
    return row
  })
}

function modelsOf(text: string): ModelName[] {
  return text.split(',').map((name) => {
    const known = modelNames.find((one) => one === name)
    if (known === undefined) throw new InvalidArgumentError(`There is no model ${name}.`)
    return known
  })
}

function countOf(text: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count > 0) return count
  throw new InvalidArgumentError('It must be a whole number above 0.')
}
