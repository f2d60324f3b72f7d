import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

export const chart = path.join(import.meta.dirname, '../../deploy/chart')

/** An object of Kubernetes, as far as the tests look. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; labels: Record<string, string> }
  // biome-ignore lint/suspicious/noExplicitAny: what a kind has is for the API server to know, and each test looks at little of it.
  [key: string]: any
}

const sprig = '/usr/share/gocode/src/github.com/Masterminds/sprig'
const isInstalled = (program: string): boolean => spawnSync(program, ['version']).status === 0
const hasHelm = isInstalled('helm')

/** Why the chart cannot be rendered; undefined if it can. */
export const whyNotRendered =
  hasHelm || (isInstalled('go') && existsSync(sprig))
    ? undefined
    : "neither Helm is installed, nor Debian's golang-go and golang-github-masterminds-sprig-dev"

/** The chart's objects, by Helm, or by Go's templates where there is none. @throws Error with the message of `fail` */
export function render(values: object, release = 'oriel'): Manifest[] {
  const texts = hasHelm ? [byHelm(values, release)] : byGo(values, release)
  return texts.flatMap((text) =>
    parseAllDocuments(text).flatMap((document) => {
      if (document.errors.length > 0) throw new Error(`${document.errors[0]}\n${text}`)
      return (document.toJS() as Manifest | null) ?? []
    }),
  )
}

function byHelm(values: object, release: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-chart-'))
  const file = path.join(folder, 'values.json')
  writeFileSync(file, JSON.stringify(values))
  try {
    return execFileSync('helm', ['template', release, chart, '--namespace', 'vision', '--values', file], {
      encoding: 'utf8',
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A program is compiled once. */
let renderer: string | undefined

function byGo(values: object, release: string): string[] {
  renderer ??= compiled()
  const { name, version, appVersion } = parse(readFileSync(path.join(chart, 'Chart.yaml'), 'utf8'))
  const templates = Object.fromEntries(
    readdirSync(path.join(chart, 'templates')).map((file) => [
      file,
      readFileSync(path.join(chart, 'templates', file), 'utf8'),
    ]),
  )
  const Context = {
    Values: merged(parse(readFileSync(path.join(chart, 'values.yaml'), 'utf8')), values),
    Release: { Name: release, Namespace: 'vision', Service: 'Helm' },
    Chart: { Name: name, Version: version, AppVersion: appVersion },
  }
  const input = JSON.stringify({ Templates: templates, Context })
  const { status, stdout, stderr } = spawnSync(renderer, { input, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  const texts: Record<string, string> = JSON.parse(stdout)
  return Object.entries(texts).flatMap(([file, text]) => (file.endsWith('.yaml') ? [text] : []))
}

function compiled(): string {
  const to = path.join(mkdtempSync(path.join(tmpdir(), 'oriel-render-')), 'render')
  const env = {
    ...process.env,
    GO111MODULE: 'off',
    GOPATH: '/usr/share/gocode',
    GOCACHE: path.join(tmpdir(), 'oriel-go'),
  }
  execFileSync('go', ['build', '-o', to, path.join(import.meta.dirname, 'render/main.go')], { env })
  return to
}

/** Values over the defaults of the chart, as Helm lays them. */
function merged(base: unknown, over: unknown): unknown {
  const isMap = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isMap(base) || !isMap(over)) return over === undefined ? base : over
  const keys = [...new Set([...Object.keys(base), ...Object.keys(over)])]
  return Object.fromEntries(keys.map((key) => [key, merged(base[key], over[key])]))
}
