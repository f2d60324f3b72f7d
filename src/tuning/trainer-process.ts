import { fstatSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { OrielError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { files, type ProgressLine, trainingConfig } from './contract.ts'
import { openReader, prepare } from './prepare/index.ts'
import { train } from './trainer/index.ts'

/**
 * The built-in trainer: `node … FOLDER`, with the folder of a job. It writes the lines of the contract. SIGTERM, and the end of
 * its standard input if that is a pipe, end it with a checkpoint.
 */

const [folder = '.'] = process.argv.slice(2)
const log = createLogger('info')
const stop = new AbortController()

function write(line: ProgressLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** Tells how far the preparations are, not more often than a person wants to read. */
let lastTold = Number.NEGATIVE_INFINITY
function onShare(share: number): void {
  const now = performance.now()
  if (share === 1 || now - lastTold < betweenShares) return
  lastTold = now
  write({ type: 'phase', phase: 'preparing', share })
}
/** In ms. */
const betweenShares = 500

async function run(): Promise<void> {
  const config = trainingConfig.parse(JSON.parse(await readFile(path.join(folder, files.config), 'utf8')))
  onShare(0)
  const { signal } = stop
  const open = () => openReader(config, log, signal)
  const { sequences, evaluation, counts } = await prepare({ folder, config, open, onShare, signal })
  write({ type: 'phase', phase: 'preparing', share: 1 })
  const { decoder } = config.base
  await train({ decoder, sequences, evaluation, counts, config, folder, onLine: write, signal })
}

function end(): void {
  stop.abort()
}

process.on('SIGTERM', end)
// A terminal sends it to the whole process group: the parent decides.
process.on('SIGINT', () => {})
// Nobody reads what it says any more.
process.stdout.on('error', () => process.exit(1))
const input = fstatSync(0)
if (input.isFIFO() || input.isSocket()) process.stdin.once('end', end).once('error', end).resume()

try {
  await run()
  process.exit(0)
} catch (error) {
  if (stop.signal.aborted) process.exit(0)
  log.error({ cause: error }, 'the training has failed')
  const message = error instanceof OrielError ? error.message : 'The trainer met an unexpected error.'
  process.stdout.write(`${JSON.stringify({ type: 'failed', message } satisfies ProgressLine)}\n`, () => process.exit(1))
}
