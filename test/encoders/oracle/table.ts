/**
 * Writes docs/conformance.md, the comparison of every family of encoders with libmtmd. `npm run conformance`, or
 * `npm run conformance -- <model>...` for the rows of some.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { needAudioArchitecture, needImageArchitecture } from '../../../src/encoders/index.ts'
import {
  compareEmbeddings,
  compareForms,
  compareLayouts,
  compareNextToken,
  openSubject,
  type Rounding,
  type Subject,
} from './compare.ts'
import {
  compareSoundEmbeddings,
  compareSoundForms,
  compareSoundLayouts,
  type HearingSubject,
  openHearing,
} from './compare-sounds.ts'
import { type Family, families } from './families.ts'
import { hearing } from './hearing.ts'
import { sizes } from './images.ts'
import type { Nearness } from './nearness.ts'
import { lengths } from './sounds.ts'

const head = `# Conformance

This page compares every family of encoders with \`libmtmd\` of the llama.cpp release that Oriel's libraries are built from. \`npm run conformance\` writes the page, and the tests make the same comparisons (\`test/encoders/conformance.test.ts\`).

For each family, and for each variant of its files, there is a small model of random weights with the real names of tensors and metadata (\`test/encoders/oracle/families\`). \`libmtmd\` read a prompt with an image between two texts, ${sizes.length} times, with images of ${sizes[0]?.join(' x ')} to ${sizes.at(-1)?.join(' x ')} pixels (DeepSeek-OCR, whose images are always large, with fewer); \`test/encoders/oracle/fixtures\` has the results. Oriel reads the same prompts with \`detail: high\`. \`test/encoders/video.test.ts\` compares pairs of frames of a video in the same way, for the encoders that join them.

- **tokens**: the number of embeddings of each tile. **layout**: the tokens around and between tiles. **positions**: the decoder's positions of embeddings and of the text after them.
- **ONNX Runtime**, **ggml**: embeddings in 32-bit floats: the smallest cosine of all compared rows and of the sum of all rows, and the largest difference of a number. \`libmtmd\` convolves in 16-bit floats, of which 11 bits are significant; the numbers are between 1 and 3.
- **auto**: how far the embeddings are from those in 32-bit floats, as a share of their length, if a calibration chooses the form of each matrix (\`ORIEL_VISION_PRECISION=auto\`), and behind the slash with \`int8\` instead. **outliers**: the same for a file in which six channels of every norm are twenty times as large, as some are in encoders that people use. The small models of this page are exact by default, since they are too small to be worth it; encoders without layers always are.
- **next token**: the largest difference of the log probabilities of the next token, computed by the whole engine.

`

const soundsHead = `
## Sounds

The same for every family of audio encoders (\`test/encoders/hearing.test.ts\`), with ${lengths.length} sounds of ${lengths[0]} to ${lengths.at(-1)} samples, 16,000 a second. Their decoders count the embeddings of sounds like tokens of text. \`libmtmd\` computed without flash attention, which sums in 16-bit floats over heads as narrow as those of these models.

`

const nearness = ({ cosine, difference }: Nearness): string => `${cosine.toFixed(7)}, ${difference.toExponential(1)}`

const rounding = ({ chosen, int8 }: Rounding): string =>
  [chosen, int8].map((error) => `${(100 * error).toFixed(1)} %`).join(' / ')

async function rowOf(subject: Subject, isExact: boolean): Promise<string[]> {
  const layouts = await compareLayouts(subject)
  const same = (of: (layout: (typeof layouts)[number]['ours']) => unknown): string => {
    const alike = layouts.filter(({ ours, theirs }) => isDeepStrictEqual(of(ours), of(theirs))).length
    return alike === layouts.length ? 'same' : `${alike} of ${layouts.length}`
  }
  return [
    (await needImageArchitecture(subject.projector)).name,
    subject.name,
    same(({ chunks }) => chunks.filter((chunk) => typeof chunk === 'number')),
    same(({ chunks }) => chunks),
    same(({ tiles }) => tiles),
    nearness(await compareEmbeddings(subject, 'onnx')),
    nearness(await compareEmbeddings(subject, 'ggml')),
    (await compareNextToken(subject)).toExponential(1),
    isExact ? 'exact' : rounding(await compareForms(subject)),
    isExact ? 'exact' : rounding(await compareForms(subject, true)),
  ]
}

async function soundRowOf(subject: HearingSubject, isExact: boolean): Promise<string[]> {
  const layouts = await compareSoundLayouts(subject)
  const alike = layouts.filter(({ ours, theirs }) => isDeepStrictEqual(ours, theirs)).length
  const near = async (runtime: 'onnx' | 'ggml') =>
    nearness(await compareSoundEmbeddings(subject, runtime, subject.told))
  return [
    (await needAudioArchitecture(subject.projector)).name,
    subject.name,
    alike === layouts.length ? 'same' : `${alike} of ${layouts.length}`,
    await near('onnx'),
    await near('ggml'),
    isExact ? 'exact' : rounding(await compareSoundForms(subject)),
    isExact ? 'exact' : rounding(await compareSoundForms(subject, true)),
  ]
}

const page = new URL('../../../docs/conformance.md', import.meta.url)
const named = process.argv.slice(2)
const known = readFileSync(page, 'utf8')
  .split('\n')
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

/** A row for each family: the page's own, unless it is to be made. */
async function tableOf<Of extends { remove(): void }>(
  titles: string[],
  all: readonly Family[],
  open: (family: Family) => Of,
  rowOf: (subject: Of, isExact: boolean) => Promise<string[]>,
): Promise<string> {
  const rows = [titles]
  for (const family of all) {
    const kept = known.find(([, model]) => model === family.name)
    if (kept !== undefined && named.length > 0 && !named.includes(family.name)) {
      rows.push(kept)
      continue
    }
    const subject = open(family)
    const row = await rowOf(subject, family.isExact ?? false)
    subject.remove()
    process.stdout.write(`${row.join('  ')}\n`)
    rows.push(row)
  }
  const widths = titles.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  rows.splice(
    1,
    0,
    widths.map((width) => '-'.repeat(width)),
  )
  const line = (row: readonly string[]) => `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |\n`
  return rows.map(line).join('')
}

const before = ['ONNX Runtime', 'ggml']
const after = ['auto', 'outliers']
const titles = ['family', 'model', 'tokens', 'layout', 'positions', ...before, 'next token', ...after]
const images = await tableOf(titles, families, openSubject, rowOf)
const soundTitles = ['family', 'model', 'layout', ...before, ...after]
const sounds = await tableOf(soundTitles, hearing, openHearing, soundRowOf)
writeFileSync(page, head + images + soundsHead + sounds)
