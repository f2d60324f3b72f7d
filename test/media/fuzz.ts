import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { OrielError } from '../../src/errors.ts'
import { chunk } from './bombs.ts'
import { corpus, make, prepare } from './corpus.ts'
import { openMedia } from './media.ts'
import { plainPdf } from './plain-pdf.ts'

/**
 * Damages files of the corpus and has them decoded: `npx tsx test/media/fuzz.ts 100000 [seed]`. Whatever comes of one must be
 * pictures or a refusal, soon, with the decoder alive. Pictures may have 4 megapixels here, so that slow means a hang.
 */
export interface FuzzReport {
  files: number
  pictures: number
  refusals: number
  /** What went wrong, each with the file that did it. */
  faults: string[]
  slowestMs: number
  /** Of all decoders together, in MB: after a fifth of the files, and at the end. */
  residentBefore: number
  residentAfter: number
}

/** @param everyNth of the corpus' files is taken. @param keepIn a folder for files that do wrong */
export async function fuzz(count: number, seed: number, everyNth = 1, keepIn = tmpdir()): Promise<FuzzReport> {
  const random = randomOf(seed)
  const originals = await originalsOf(everyNth)
  const media = openMedia({ decoders: 2, maxPixels: 4_000_000 })
  const report: FuzzReport = {
    files: count,
    pictures: 0,
    refusals: 0,
    faults: [],
    slowestMs: 0,
    residentBefore: 0,
    residentAfter: 0,
  }
  await Promise.all([media.loadOne(plainPdf(1)), media.loadOne(plainPdf(1))])
  const outcomeOf = async (file: Buffer, pages: string | undefined): Promise<{ outcome: string; ms: number }> => {
    const start = performance.now()
    const outcome = await media.loadOne(file, pages, 256).then(() => 'pictures', nameOf)
    return { outcome, ms: performance.now() - start }
  }
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      if (index === Math.floor(count / 5)) report.residentBefore = residentMegabytes()
      const [name, file] = damaged(originals, random)
      const pages = random() < 0.3 ? 'all' : undefined
      let { outcome, ms } = await outcomeOf(file, pages)
      // A busy machine is slow once, a hang always.
      if (ms > 2000) ({ outcome, ms } = await outcomeOf(file, pages))
      report.slowestMs = Math.max(report.slowestMs, ms)
      if (outcome === 'pictures') report.pictures++
      if (outcome === 'refusal') report.refusals++
      if ((outcome === 'pictures' || outcome === 'refusal') && ms <= 2000) continue
      const kept = join(keepIn, `oriel-fuzz-${seed}-${index}`)
      await writeFile(kept, file)
      report.faults.push(`${kept} from ${name}: ${outcome} after ${ms.toFixed(0)} ms`)
    }
  }
  await Promise.all([work(), work()])
  report.residentAfter = residentMegabytes()
  await media.close()
  return report
}

/** A refusal is as it should be; everything else is told in full. */
function nameOf(error: unknown): string {
  if (!(error instanceof OrielError)) return String(error)
  const clientsFault = ['invalid', 'too_large', 'unsupported_media', 'unreadable_media'].includes(error.kind)
  const decodersFault = error.code === 'image_decode_timeout' || error.message.includes('the decoder stopped on it')
  return clientsFault && !decodersFault ? 'refusal' : error.message
}

async function originalsOf(everyNth: number): Promise<[name: string, file: Buffer][]> {
  const folder = await mkdtemp(join(tmpdir(), 'oriel-fuzz-'))
  await prepare(folder)
  const originals: [string, Buffer][] = [['pdf', plainPdf(3)]]
  for (const [index, specimen] of corpus.entries())
    if (index % everyNth === 0) originals.push([specimen.name, await make(specimen, folder)])
  await rm(folder, { recursive: true })
  return originals
}

type Random = () => number

/** mulberry32: the same files for the same seed. */
function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function damaged(originals: readonly [string, Buffer][], random: Random): [name: string, file: Buffer] {
  const below = (most: number): number => Math.floor(random() * most)
  const [name, original] = originals[below(originals.length)] ?? ['nothing', Buffer.alloc(0)]
  let file = Buffer.from(original)
  for (let times = 1 + below(6); times > 0 && file.length > 8; times--) {
    // Half of the damage is done to the headers, which most of the decisions hang on.
    const at = below(random() < 0.5 ? Math.min(200, file.length - 4) : file.length - 4)
    const kind = below(8)
    if (kind <= 1) file[at] = (file[at] ?? 0) ^ (1 << below(8))
    else if (kind === 2) file[at] = below(256)
    else if (kind === 3) file.writeUInt32BE([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff][below(6)] ?? 0, at)
    else if (kind === 4) file.writeUInt32LE([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000][below(6)] ?? 0, at)
    else if (kind === 5) file = file.subarray(0, at + 4)
    else if (kind === 6)
      file = Buffer.concat([file.subarray(0, at), file.subarray(below(at + 1), at + below(64)), file.subarray(at)])
    else {
      const [, other] = originals[below(originals.length)] ?? ['', file]
      const from = below(other.length)
      other.copy(file, at, from, from + below(64))
    }
  }
  return [name, random() < 0.5 ? withRightSums(file) : file]
}

/** A PNG's checksums made right, so that the damage is met behind them. */
function withRightSums(file: Buffer): Buffer {
  if (file.toString('latin1', 1, 4) !== 'PNG') return file
  const parts = [file.subarray(0, 8)]
  for (let at = 8; at + 12 <= file.length; ) {
    const end = at + 8 + file.readUInt32BE(at)
    if (end + 4 > file.length) break
    parts.push(chunk(file.toString('latin1', at + 4, at + 8), file.subarray(at + 8, end)))
    at = end + 4
  }
  return Buffer.concat(parts)
}

function residentMegabytes(): number {
  const list = execFileSync('ps', ['-o', 'rss=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
  return list
    .split('\n')
    .filter((line) => line.includes('decoder/process.ts'))
    .reduce((sum, line) => sum + Number.parseInt(line, 10) / 1000, 0)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const start = performance.now()
  const report = await fuzz(Number(process.argv[2] ?? 2000), Number(process.argv[3] ?? 1))
  console.log({ ...report, seconds: Math.round((performance.now() - start) / 1000) })
  process.exit(report.faults.length === 0 ? 0 : 1)
}
