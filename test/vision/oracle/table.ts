/** Writes docs/conformance.md: how near every family of vision encoders comes to libmtmd. `npm run conformance` */
import { writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { openArchitecture } from '../../../src/vision/index.ts'
import {
  compareEmbeddings,
  compareLayouts,
  compareNextToken,
  type Nearness,
  openSubject,
  type Subject,
} from './compare.ts'
import { families } from './families.ts'
import { sizes } from './pictures.ts'

const head = `# Conformance

How near every family of vision encoders comes to \`libmtmd\`, llama.cpp's own, of the release that Oriel's libraries are built of. \`npm run conformance\` writes this page; the same comparisons are tests (\`test/vision/conformance.test.ts\`).

For each family, in each of the forms in which its files come, there is a small model of random weights with the real names of tensors and metadata (\`test/vision/oracle/families\`). \`libmtmd\` was given a prompt with a picture between two texts, ${sizes.length} times, with pictures from ${sizes[0]?.join(' x ')} to ${sizes.at(-1)?.join(' x ')} pixels; what it made of them is kept in \`test/vision/oracle/fixtures\`. Oriel is given the same with \`detail: high\`.

- **tokens**: as many for each tile. **layout**: the same tokens around and between tiles. **positions**: the decoder's, of embeddings and of what follows.
- **ONNX Runtime**, **ggml**: embeddings in 32-bit floats: the smallest cosine of all rows that were compared and of the sum of all rows, and the largest difference of a number. \`libmtmd\` convolves in 16-bit floats, of which 11 bits are significant, and numbers are 1 to 3 large.
- **int8**: the same cosine where ONNX Runtime computes in 8-bit integers (\`ORIEL_VISION_PRECISION=int8\`).
- **next token**: the largest difference of its log probabilities, by the whole engine.

`

const nearness = ({ cosine, difference }: Nearness): string => `${cosine.toFixed(7)}, ${difference.toExponential(1)}`

async function rowOf(subject: Subject): Promise<string[]> {
  const layouts = compareLayouts(subject)
  const same = (of: (layout: (typeof layouts)[number]['ours']) => unknown): string => {
    const alike = layouts.filter(({ ours, theirs }) => isDeepStrictEqual(of(ours), of(theirs))).length
    return alike === layouts.length ? 'same' : `${alike} of ${layouts.length}`
  }
  return [
    openArchitecture(subject.projector).name,
    subject.name,
    same(({ chunks }) => chunks.filter((chunk) => typeof chunk === 'number')),
    same(({ chunks }) => chunks),
    same(({ tiles }) => tiles),
    nearness(await compareEmbeddings(subject, 'onnx')),
    nearness(await compareEmbeddings(subject, 'ggml')),
    (await compareEmbeddings(subject, 'onnx', 'int8')).cosine.toFixed(4),
    (await compareNextToken(subject)).toExponential(1),
  ]
}

const rows = [['family', 'model', 'tokens', 'layout', 'positions', 'ONNX Runtime', 'ggml', 'int8', 'next token']]
for (const family of families) {
  const subject = openSubject(family)
  const row = await rowOf(subject)
  subject.remove()
  process.stdout.write(`${row.join('  ')}\n`)
  rows.push(row)
}
const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
rows.splice(
  1,
  0,
  widths.map((width) => '-'.repeat(width)),
)
const line = (row: readonly string[]) => `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |\n`
writeFileSync(new URL('../../../docs/conformance.md', import.meta.url), head + rows.map(line).join(''))
