import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Agent, fetch } from 'undici'
import { createOriel } from '../src/app.ts'
import { headerOf } from '../src/gguf/index.ts'
import { writeAdapter } from '../test/support/adapters.ts'
import type { TensorPlan } from '../test/support/gguf-file.ts'

/**
 * Measures what several adapters cost: `npx tsx bench/adapters.ts [--model pocket.gguf] [--tokens 200] [--runs 7]`.
 *
 * Eight clients ask at once, each for an answer of so many tokens: all with one adapter, then two with each of three adapters and
 * two with the model alone. Adapters have random weights of rank 16 for q, v and the feed-forward part of all layers. Each run
 * has both, in turns, and the model alone as a control.
 */
const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/pocket/pocket.gguf' },
    tokens: { type: 'string', default: '200' },
    runs: { type: 'string', default: '7' },
  },
})
const clients = 8
const adapters = ['one', 'two', 'three']
const changed = /^blk\.\d+\.(attn_q|attn_v|ffn_down)\.weight$/
const agent = new Agent({ connections: clients })

async function main(): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-bench-'))
  const file = path.resolve(flags.model)
  const { metadata, tensors } = await headerOf(file)
  const matrices = tensors.filter(({ name }) => changed.test(name))
  const halves = matrices.flatMap(({ name, shape: [columns = 1, rows = 1] }): TensorPlan[] => [
    { name: `${name}.lora_a`, shape: [columns, 16], fill: { exact: 0.02 } },
    { name: `${name}.lora_b`, shape: [16, rows], fill: { exact: 0.02 } },
  ])
  const architecture = { string: String(metadata.get('general.architecture')) }
  for (const [at, id] of adapters.entries())
    writeAdapter(folder, id, {
      seed: at + 1,
      metadata: { 'general.architecture': architecture },
      tensors: () => halves,
    })
  const oriel = await createOriel({
    model: [file],
    models: { dirs: [folder, path.dirname(file)] },
    server: { port: 0 },
    logLevel: 'error',
  })
  const { url, models } = await oriel.listen()
  const base = models[0] ?? ''
  const loads = {
    'one adapter': Array.from({ length: clients }, () => `${base}#one`),
    'three adapters and the model': Array.from({ length: clients }, (_, client) =>
      client % 4 === 3 ? base : `${base}#${adapters[client % 4]}`,
    ),
    'the model': Array.from({ length: clients }, () => base),
  }
  const rates: Record<string, number[]> = {}
  for (let run = -1; run < Number(flags.runs); run++)
    for (const [name, asked] of Object.entries(loads)) {
      const start = performance.now()
      const tokens = await Promise.all(asked.map((model, client) => ask(url, model, `${run} ${name} ${client}`)))
      const rate = (tokens.reduce((sum, count) => sum + count, 0) / (performance.now() - start)) * 1000
      // The first run loads them.
      if (run >= 0) rates[name] = [...(rates[name] ?? []), rate]
    }
  const single = rates['one adapter'] ?? []
  for (const [name, found] of Object.entries(rates)) {
    const ratios = found.map((rate, run) => rate / (single[run] ?? Number.NaN))
    console.log(`${name}: ${median(found).toFixed(0)} tokens/s, ${median(ratios).toFixed(2)} of one adapter`)
  }
  await oriel.close()
  rmSync(folder, { recursive: true })
}

async function ask(url: string, model: string, prompt: string): Promise<number> {
  const body = { model, prompt, max_tokens: Number(flags.tokens), ignore_eos: true, temperature: 0 }
  const response = await fetch(`${url}/v1/completions`, {
    ...{ method: 'POST', dispatcher: agent, body: JSON.stringify(body) },
    headers: { 'content-type': 'application/json' },
  })
  const { usage, error } = (await response.json()) as { usage?: { completion_tokens: number }; error?: object }
  if (usage === undefined) throw new Error(JSON.stringify(error))
  return usage.completion_tokens
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

await main()
