/**
 * Runs libmtmd on the test images and writes the fixtures:
 * `npm run fixtures -- [family...]`. Needs a C++ compiler, and the peer that `npm run bench` builds.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileWithPeer } from '../../../bench/peer.ts'
import { families } from './families.ts'
import { sizes, testImage } from './images.ts'
import { prompt } from './told.ts'

const named = process.argv.slice(2)
const unknown = named.filter((name) => !families.some((family) => family.name === name))
if (unknown.length > 0) throw new Error(`no such family: ${unknown.join(', ')}`)

const here = fileURLToPath(new URL('.', import.meta.url))
const work = mkdtempSync(path.join(tmpdir(), 'oriel-oracle-'))

const oracle = path.join(work, 'oracle')
await compileWithPeer(path.join(here, 'oracle.cpp'), oracle)

const rawOf = ([width, height]: readonly [number, number]): string[] => {
  const file = path.join(work, `${width}x${height}.raw`)
  writeFileSync(file, testImage(width, height))
  return [file, String(width), String(height)]
}

for (const { name, write, sizes: images = sizes } of families) {
  if (named.length > 0 && !named.includes(name)) continue
  const files = [path.join(work, 'decoder.gguf'), path.join(work, 'mmproj.gguf')] as const
  write(...files)
  const said = execFileSync(oracle, [...files, ...prompt, ...images.flatMap(rawOf)], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  })
  const fixture = `[\n${said.trimEnd().replaceAll('\n', ',\n')}\n]\n`
  writeFileSync(path.join(here, 'fixtures', `${name}.json`), fixture)
  process.stdout.write(`${name}: ${images.length} images, ${Math.ceil(fixture.length / 1000)} kB\n`)
}
rmSync(work, { recursive: true })
