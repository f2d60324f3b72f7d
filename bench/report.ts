import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMet, median, type RowReport } from './figures.ts'
import type { StreamGaps } from './gaps.ts'
import type { Limits } from './limits.ts'
import type { Machine } from './machine.ts'
import { drawPlot } from './plot.ts'

/** The results of a run of the bench. */
export interface Report {
  date: string
  machine: Machine
  threads: number
  limits: Limits
  models: ModelReport[]
}

export interface ModelReport {
  id: string
  title: string
  /** The time of a request that asks for nothing, in ms, for each server. */
  emptyRequest: { oriel: number; peer: number }
  rows: RowReport[]
}

const root = fileURLToPath(new URL('../', import.meta.url))

/** Writes `bench/results/<date>.{json,md,svg}`, and inserts the table between the markers of bench/README.md. */
export function writeReport(report: Report): void {
  const folder = path.join(root, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  const file = (extension: string) => path.join(folder, `${report.date}.${extension}`)
  writeFileSync(file('json'), `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(file('svg'), drawPlot(report.models))
  writeFileSync(
    file('md'),
    `# Bench of ${report.date}\n\n${tableOf(report)}\n\n![Bars against their bounds](${report.date}.svg)\n`,
  )
  fillReadme('bench', `${tableOf(report)}\n\n![Bars against their bounds](results/${report.date}.svg)`)
}

export const machineText = ({ cpu, cores, memoryGb, system }: Machine): string =>
  `${cpu}, ${cores} cores, ${memoryGb} GB, ${system}`

/** The results as Markdown. */
export function tableOf({ machine, threads, limits, models }: Report): string {
  const heading = `${machineText(machine)}; ${threads} threads for each server.`
  const most = `At most, this machine multiplies matrices at ${round(limits.fp32)} GFLOP/s in fp32 and ${round(limits.int8)} GOP/s in int8, and reads ${round(limits.reading)} GB/s of memory.`
  const columns = ['what', 'figure', 'bar', 'median', 'min', 'max', 'Oriel', 'llama-server', 'runs', 'met']
  const tables = models.map(({ title, emptyRequest: { oriel, peer }, rows }) => {
    const empty = `A request that asks for nothing takes ${round(oriel)} ms with Oriel and ${round(peer)} ms with llama-server.`
    return [`**${title}**`, empty, markdownTable([columns, ...rows.map(cellsOf)]), ...gapsTable(rows)].join('\n\n')
  })
  return [heading, most, ...tables].join('\n\n')
}

/** Pads columns to the width of their widest cell. */
export function markdownTable(lines: readonly string[][]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)))
  const padded = lines.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)))
  const rule = widths.map((width) => '-'.repeat(width))
  return [...padded.slice(0, 1), rule, ...padded.slice(1)].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function cellsOf(row: RowReport): string[] {
  const { what, figure, bar, samples } = row
  const figures = samples.map((sample) => sample.figure)
  const peers = samples.flatMap(({ peer }) => (peer === null ? [] : [peer]))
  const disturbed = samples.filter((sample) => sample.disturbed).length
  return [
    what,
    figure,
    'most' in bar ? `≤ ${bar.most}` : `≥ ${bar.least}`,
    `**${round(median(figures))}**`,
    round(Math.min(...figures)),
    round(Math.max(...figures)),
    round(median(samples.map(({ oriel }) => oriel))),
    peers.length === 0 ? '' : round(median(peers)),
    `${samples.length}${disturbed > 0 ? `, ${disturbed} disturbed` : ''}`,
    disturbed > 0 ? 'not counted' : isMet(row) ? 'yes' : 'no',
  ]
}

/** The gaps that the figures of streams are calculated from: medians of all runs, in ms. */
function gapsTable(rows: readonly RowReport[]): string[] {
  const runs = (rows.find(({ id }) => id === 'gap')?.samples ?? []).flatMap(({ gaps }) => gaps ?? [])
  if (runs.length === 0) return []
  const line = (name: string, gaps: readonly Omit<StreamGaps, 'control'>[]): string[] => [
    name,
    ...(['median', 'p99', 'longest'] as const).map((key) => round(median(gaps.map((of) => of[key])))),
  ]
  const lines = (['oriel', 'llama-server'] as const).flatMap((server) => {
    const of = runs.map((run) => run[server])
    const name = { oriel: 'Oriel', 'llama-server': 'llama-server' }[server]
    const control = of.map((one) => one.control)
    return [line(`${name}, while the image arrives`, of), line(`${name}, nobody else (the control)`, control)]
  })
  return [markdownTable([['gaps of a stream, ms', 'median', 'p99', 'longest'], ...lines])]
}

/** Three significant digits. */
export const round = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))

/** Replaces what bench/README.md has between the markers of this name. */
export function fillReadme(name: string, text: string): void {
  const readme = path.join(root, 'bench/README.md')
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const content = readFileSync(readme, 'utf8')
  const [from, to] = [content.indexOf(start), content.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`bench/README.md has no markers ${start} and ${end}.`)
  writeFileSync(readme, `${content.slice(0, from)}${start}\n${text}\n${content.slice(to)}`)
}
