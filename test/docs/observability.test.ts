import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { genAiAliases, vllmAliases } from '../../src/api/monitoring/aliases.ts'
import { writeAdapter } from '../support/adapters.ts'
import { postJson } from '../support/http.ts'
import { startServer } from '../support/server.ts'
import { textOf } from './pages.ts'

interface Shown {
  type: string
  help: string
  /** Of its series, except for the bound of a bucket; none if it has no series. */
  labels: string[]
}

const page = textOf('docs/observability.md')
const dashboard: { panels: { title: string; targets?: { expr: string }[] }[] } = JSON.parse(
  textOf('examples/grafana-dashboard.json'),
)
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

/** The cells of the rows of a table whose first cell is a name that begins so. */
const rowsOf = (beginning: string): string[][] =>
  page
    .split('\n')
    .filter((line) => line.startsWith(`| \`${beginning}`))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    )

/** What `/metrics` shows after a request. */
let shown: Map<string, Shown>
beforeAll(async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-observed-'))
  writeAdapter(folder, 'own')
  // Nobody answers there, but it is counted.
  const upstreams = [{ name: 'elsewhere', url: 'http://127.0.0.1:9', api: 'vllm' as const }]
  const oriel = await startServer({ model: ['pocket'], models: { dirs: [folder] }, upstreams })
  for (const model of ['pocket', 'pocket#own'])
    await (await postJson(`${oriel.url}/v1/completions`, { model, prompt: 'Hello', max_tokens: 4 })).text()
  const text = await (await fetch(`${oriel.url}/metrics`)).text()
  await oriel.close()
  rmSync(folder, { recursive: true })
  const families = text.trim().split('\n\n')
  shown = new Map(
    families.map((family) => {
      const [, name = '', help = '', type = ''] = /^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)/.exec(family) ?? []
      const labels = [...family.replace(/^#.*$/gm, '').matchAll(/[{,](\w+)="/g)].map(([, label = '']) => label)
      return [name, { type, help, labels: [...new Set(labels)].filter((label) => label !== 'le') }]
    }),
  )
})
afterAll(() => {
  shown.clear()
})

const own = (): string[] => [...shown.keys()].filter((name) => /^oriel_(?!process_|nodejs_)/.test(name))

describe('docs/observability.md', () => {
  it('has all metrics with their types and meanings, as /metrics has them', () => {
    const documented = rowsOf('oriel_').map(([name, type, , , meaning]) => [name, type, meaning])
    expect(documented).toEqual(own().map((name) => [name, shown.get(name)?.type, shown.get(name)?.help]))
  })

  it('names the unit in which each name ends', () => {
    for (const [name = '', , unit] of rowsOf('oriel_'))
      expect(
        name
          .replace(/_total$/, '')
          .split('_')
          .at(-1),
        name,
      ).toBe(unit)
  })

  it('has the labels of each metric', () => {
    for (const [name = '', , , labels = ''] of rowsOf('oriel_'))
      expect(labels.split(', ').filter(Boolean).sort(), name).toEqual(shown.get(name)?.labels.sort())
  })

  it('has all names of vLLM and of OpenTelemetry, with what they are', () => {
    const rowOf = ({ name, of, where = {} }: (typeof vllmAliases.all)[number]) => [
      name,
      of + Object.entries(where).map(([label, value]) => ` with ${label}="${value}"`),
    ]
    expect(rowsOf('vllm:')).toEqual(vllmAliases.all.map(rowOf))
    expect(rowsOf('gen_ai.').map(([name, is]) => [name, is?.replace(/,.*/, '')])).toEqual(genAiAliases.all.map(rowOf))
    expect([...shown.keys()].filter((name) => name.startsWith('vllm:'))).toEqual(
      vllmAliases.all.map(({ name }) => name),
    )
  })
})

it('has the metrics that deploy/alerts.yaml asks for', () => {
  const { groups } = parse(textOf('deploy/alerts.yaml'))
  const asked = groups.flatMap(({ rules }: { rules: { expr: string }[] }) =>
    rules.flatMap(({ expr }) => [...expr.matchAll(/\boriel_\w+/g)].map(([name]) => name)),
  )
  expect(asked.length).toBeGreaterThan(3)
  for (const name of asked) expect([...shown.keys()]).toContain(name.replace(/_(bucket|sum|count)$/, ''))
})

describe('examples/grafana-dashboard.json', () => {
  it('asks only for metrics that /metrics has', () => {
    const asked = expressions.flatMap((expr) => [...expr.matchAll(/\b(oriel_\w+)\{/g)].map(([, name = '']) => name))
    const missing = asked.filter((name) => !shown.has(name) && !shown.has(name.replace(/_(bucket|sum|count)$/, '')))
    expect(missing).toEqual([])
    // What is added to the metrics is worth a panel, or is known to be none.
    const unseen = own().filter((name) => !asked.some((one) => one.replace(/_(bucket|sum|count)$/, '') === name))
    expect(unseen).toEqual([
      'oriel_adapter_answers_total',
      'oriel_embedded_texts_total',
      'oriel_embedding_seconds',
      'oriel_adapters_asked_seconds',
      'oriel_engine_free_kv_cells',
      'oriel_engine_stored_prefixes',
      'oriel_engine_adapters',
      'oriel_upstream_models',
    ])
  })

  it('selects by labels that the metrics have', () => {
    for (const expr of expressions)
      for (const [, name = '', selector = ''] of expr.matchAll(/\b(oriel_\w+)\{([^}]*)\}/g)) {
        const { labels = [] } = shown.get(name) ?? shown.get(name.replace(/_(bucket|sum|count)$/, '')) ?? {}
        for (const [, label] of selector.matchAll(/(\w+)(?:=|!)~?"/g))
          expect([...labels, 'job', 'instance'], `${name} ${label}`).toContain(label)
      }
  })

  it('has a title and a description of each panel', () => {
    for (const panel of dashboard.panels) {
      expect(panel.title).not.toBe('')
      if (panel.targets !== undefined) expect(panel).toMatchObject({ description: expect.stringMatching(/./) })
    }
  })
})
