import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { OrielError } from '../../src/errors.ts'
import { childrenRunning } from '../support/children.ts'
import { type Random, seeded } from '../support/mutate.ts'
import { chunk } from './bombs.ts'
import { corpus, make, prepare } from './corpus.ts'
import { openMedia } from './media.ts'
import { plainPdf } from './plain-pdf.ts'

/**
 * Damages files of the corpus and decodes them: `npx tsx test/media/fuzz.ts 100000 [seed]`. Each must end as an image or a
 * refusal, within the decoder's time limit and with the decoder alive. Images are limited to 4 megapixels, so that only a
 * hang exceeds the limit.
 */
export interface FuzzReport {
  files: number
  decoded: number
  refusals: number
  /** Crashes, hangs and unexpected errors, each with the file that caused it. */
  faults: string[]
  slowestMs: number
  /** Memory of all decoders together in MB, after a fifth of the files and at the end. */
  residentBefore: number
  residentAfter: number
}

/** @param everyNth takes every nth file of the corpus. @param keepIn a folder for the files that cause faults */
export async function fuzz(count: number, seed: number, everyNth = 1, keepIn = tmpdir()): Promise<FuzzReport> {
  const random = seeded(seed)
  const originals = await originalsOf(everyNth)
  const media = openMedia({ decoders: 2, maxPixels: 4_000_000, decodeTimeoutMs: hangMs })
  const report: FuzzReport = {
    files: count,
    decoded: 0,
    refusals: 0,
    faults: [],
    slowestMs: 0,
    residentBefore: 0,
    residentAfter: 0,
  }
  await Promise.all([media.loadOne(plainPdf(1)), media.loadOne(plainPdf(1))])
  const outcomeOf = async (file: Buffer, pages: string | undefined): Promise<{ outcome: string; ms: number }> => {
    const start = performance.now()
    const outcome = await media.loadOne(file, pages, 256).then(() => 'decoded', outcomeOfError)
    return { outcome, ms: performance.now() - start }
  }
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      if (index === Math.floor(count / 5)) report.residentBefore = residentMegabytes()
      const [name, file] = damaged(originals, random)
      const pages = random(10) < 3 ? 'all' : undefined
      const { outcome, ms } = await outcomeOf(file, pages)
      report.slowestMs = Math.max(report.slowestMs, ms)
      if (outcome === 'decoded') report.decoded++
      else if (outcome === 'refusal') report.refusals++
      if (outcome === 'decoded' || outcome === 'refusal') continue
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

/** A file that takes longer has hung the decoder: on an idle machine the slowest file takes a hundredth of this time. */
const hangMs = 20_000

/** `refusal` for an error about the file; the message of any other error. */
function outcomeOfError(error: unknown): string {
  if (!(error instanceof OrielError)) return String(error)
  const aboutFile = ['invalid', 'too_large', 'unsupported_media', 'unreadable_media'].includes(error.kind)
  const decoderFailed = error.code === 'image_decode_timeout' || error.message.includes('the decoder crashed on it')
  return aboutFile && !decoderFailed ? 'refusal' : error.message
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

function damaged(originals: readonly [string, Buffer][], random: Random): [name: string, file: Buffer] {
  const [name, original] = originals[random(originals.length)] ?? ['nothing', Buffer.alloc(0)]
  let file = Buffer.from(original)
  for (let times = 1 + random(6); times > 0 && file.length > 8; times--) {
    // Half of the damage is done to the headers, on which most decisions of a decoder depend.
    const at = random(random(2) === 0 ? Math.min(200, file.length - 4) : file.length - 4)
    const kind = random(8)
    if (kind <= 1) file[at] = (file[at] ?? 0) ^ (1 << random(8))
    else if (kind === 2) file[at] = random(256)
    else if (kind === 3) file.writeUInt32BE([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff][random(6)] ?? 0, at)
    else if (kind === 4) file.writeUInt32LE([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000][random(6)] ?? 0, at)
    else if (kind === 5) file = file.subarray(0, at + 4)
    else if (kind === 6)
      file = Buffer.concat([file.subarray(0, at), file.subarray(random(at + 1), at + random(64)), file.subarray(at)])
    else {
      const [, other] = originals[random(originals.length)] ?? ['', file]
      const from = random(other.length)
      other.copy(file, at, from, from + random(64))
    }
  }
  return [name, random(2) === 0 ? withValidChecksums(file) : file]
}

/** Corrects the checksums of a PNG, so that the decoder gets past them to the damage. */
function withValidChecksums(file: Buffer): Buffer {
  if (file.toString('latin1', 1, 4) !== 'PNG') return file
  const pieces = [file.subarray(0, 8)]
  for (let at = 8; at + 12 <= file.length; ) {
    const end = at + 8 + file.readUInt32BE(at)
    if (end + 4 > file.length) break
    pieces.push(chunk(file.toString('latin1', at + 4, at + 8), file.subarray(at + 8, end)))
    at = end + 4
  }
  return Buffer.concat(pieces)
}

const residentMegabytes = (): number =>
  childrenRunning('decoder-process').reduce((sum, { megabytes }) => sum + megabytes, 0)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const start = performance.now()
  const report = await fuzz(Number(process.argv[2] ?? 2000), Number(process.argv[3] ?? 1))
  console.log({ ...report, seconds: Math.round((performance.now() - start) / 1000) })
  process.exit(report.faults.length === 0 ? 0 : 1)
}
