/**
 * Runs libmtmd on the test images, frames and sounds, and writes the fixtures:
 * `npm run fixtures -- [family...]`. Needs a C++ compiler, and the peer that `npm run bench` builds.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileWithPeer } from '../../../bench/peer.ts'
import { families } from './families.ts'
import { hearing } from './hearing.ts'
import { sizes, testFrames, testImage } from './images.ts'
import { lengths, testSound } from './sounds.ts'
import { prompt } from './told.ts'
import { frameSizes, watching } from './watching.ts'

const named = process.argv.slice(2)
const unknown = named.filter((name) => ![...families, ...hearing, ...watching].some((family) => family.name === name))
if (unknown.length > 0) throw new Error(`no such family: ${unknown.join(', ')}`)

const here = fileURLToPath(new URL('.', import.meta.url))
const work = mkdtempSync(path.join(tmpdir(), 'oriel-oracle-'))

const oracle = path.join(work, 'oracle')
await compileWithPeer(path.join(here, 'oracle.cpp'), oracle)

const rawOf = (width: number, height: number, rgb: readonly Uint8Array[]): string[] => {
  const file = path.join(work, `${rgb.length} of ${width}x${height}.raw`)
  writeFileSync(file, Buffer.concat(rgb))
  return [file, String(width), String(height)]
}
const imageOf = ([width, height]: readonly [number, number]): string[] =>
  rawOf(width, height, [testImage(width, height)])
const framesOf = ([width, height]: readonly [number, number]): string[] =>
  rawOf(width, height, testFrames(width, height))

const soundOf = (samples: number): string[] => {
  const file = path.join(work, `${samples}.raw`)
  writeFileSync(file, testSound(samples))
  return [file, String(samples), '0']
}

const runs = [
  ...families.map(({ sizes: images = sizes, ...family }) => ({ ...family, inputs: () => images.map(imageOf) })),
  ...watching.map((family) => ({ ...family, inputs: () => frameSizes.map(framesOf) })),
  ...hearing.map(({ lengths: sounds = lengths, ...family }) => ({ ...family, inputs: () => sounds.map(soundOf) })),
]
for (const { name, write, inputs } of runs) {
  if (named.length > 0 && !named.includes(name)) continue
  const files = [path.join(work, 'decoder.gguf'), path.join(work, 'mmproj.gguf')] as const
  write(...files)
  const read = inputs()
  const said = execFileSync(oracle, [...files, ...prompt, ...read.flat()], { encoding: 'utf8', maxBuffer: 1 << 30 })
  const fixture = `[\n${said.trimEnd().replaceAll('\n', ',\n')}\n]\n`
  writeFileSync(path.join(here, 'fixtures', `${name}.json`), fixture)
  process.stdout.write(`${name}: ${read.length} inputs, ${Math.ceil(fixture.length / 1000)} kB\n`)
}
rmSync(work, { recursive: true })
