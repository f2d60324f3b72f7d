/**
 * Writes what libmtmd makes of some pictures to fixtures that the tests compare with: `npx tsx test/vision/oracle/make.ts`.
 * Needs a C++ compiler, and the peer that `npm run bench` builds.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPeer } from '../../../bench/peer.ts'
import { writeIdefics3 } from './models.ts'
import { picture, sizes } from './pictures.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const work = mkdtempSync(path.join(tmpdir(), 'oriel-oracle-'))

const build = path.resolve(await buildPeer(), '..', '..')
const source = path.join(build, '..', 'source')
const library = (name: string) => path.join(build, name)
const oracle = path.join(work, 'oracle')
execFileSync('g++', [
  ...['-O1', '-std=c++17', '-o', oracle, path.join(here, 'oracle.cpp')],
  ...['include', 'ggml/include', 'tools/mtmd'].map((folder) => `-I${path.join(source, folder)}`),
  ...['tools/mtmd/libmtmd.a', 'src/libllama.a', 'ggml/src/libggml.a'].map(library),
  ...['-ldl', library('ggml/src/libggml-cpu.a'), library('ggml/src/libggml-base.a'), '-lm', '-lgomp', '-lpthread'],
])

const raws = sizes.map(([width, height]) => {
  const file = path.join(work, `${width}x${height}.raw`)
  writeFileSync(file, picture(width, height))
  return [file, String(width), String(height)]
})

for (const [name, longestEdge] of [
  ['idefics3', 128],
  ['idefics3-old', 0],
] as const) {
  const files = [path.join(work, 'decoder.gguf'), path.join(work, 'mmproj.gguf')] as const
  writeIdefics3(...files, longestEdge)
  const said = execFileSync(oracle, [...files, ...raws.flat()], { encoding: 'utf8', maxBuffer: 1 << 30 })
  const layouts = said.split(/\n(?=\[)/).map((text): object[] => JSON.parse(text))
  // All tiles are told, and the numbers of the first and last ones.
  const brief = (layout: object[] = []) =>
    layout.map((part, at) => (at < 6 || at > layout.length - 4 || 'text' in part ? part : { ...part, embeddings: [] }))
  const out = sizes.map((size, i) => JSON.stringify({ size, layout: brief(layouts[i]) }))
  writeFileSync(path.join(here, `${name}.json`), `[\n${out.join(',\n')}\n]\n`)
  process.stdout.write(`${name}: ${sizes.length} pictures\n`)
}
