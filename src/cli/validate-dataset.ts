import { stat } from 'node:fs/promises'
import { OrielError } from '../errors.ts'
import { configOf } from '../load-config.ts'
import { createWarner } from '../log.ts'
import { availableMemory } from '../memory.ts'
import { availableProcessors } from '../processors.ts'
import {
  checkFile,
  examineFile,
  exampleLimits,
  mostTokens,
  Packer,
  problemText,
  readingOf,
  reportText,
} from '../tuning/index.ts'
import { countedText, tokensText } from './figures.ts'
import { interruption } from './interruption.ts'
import { libraryOf } from './settings.ts'

interface ValidateFlags {
  base?: string
  maxContextLength?: number
  json?: boolean
}

/**
 * `oriel dataset validate`: checks a dataset on this machine as a server does. The exit code is 1 if it cannot be used.
 * @throws OrielError with one sentence for the person
 */
export async function validateDataset(file: string, flags: ValidateFlags): Promise<void> {
  if (!(await stat(file).catch(() => undefined))?.isFile())
    throw new OrielError('not_found', `There is no file ${file}.`, { code: 'file_not_found' })
  const config = configOf({})
  const signal = interruption()
  const packer = new Packer(file, config)
  try {
    const pack = (json: unknown) => packer.pack(json)
    const found = await checkFile(file, exampleLimits(config), { pack, onProgress: () => signal.throwIfAborted() })
    const isRight = found.problems.length === 0
    const tokens = isRight && flags.base !== undefined ? await tokensOf(file, flags.base, flags, packer, signal) : null
    if (!isRight) process.exitCode = 1
    if (flags.json) return void process.stdout.write(`${JSON.stringify({ ...found, tokens }, null, 2)}\n`)
    process.stdout.write(`${file}: ${reportText(found.report)}.\n`)
    for (const one of found.problems) process.stderr.write(`${problemText(one)}\n`)
    const more = found.invalid - found.problems.length
    if (more > 0) process.stderr.write(`And ${countedText(more, 'more line')}.\n`)
    if (tokens !== null) process.stdout.write(tokensSentence(tokens))
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    await packer.close()
  }
}

async function tokensOf(
  file: string,
  base: string,
  { maxContextLength }: ValidateFlags,
  packer: Packer,
  signal: AbortSignal,
) {
  const config = configOf({})
  const card = await libraryOf({}).find(base)
  // As a job that says nothing else has it.
  const maxTokens = Math.min(maxContextLength ?? mostTokens, card.contextTokens)
  const counts = await examineFile({
    ...{ file, limits: exampleLimits(config), pack: (json) => packer.pack(json) },
    config: {
      base: { id: card.id, decoder: card.decoder, projector: card.projector },
      ...{ chatTemplate: null, maxTokens, reading: readingOf(config) },
      ...{ memoryBytes: availableMemory(), threads: availableProcessors() },
    },
    log: createWarner((sentence) => process.stderr.write(`${sentence}\n`)),
    signal,
    onShare: () => {},
  })
  const { tokens, learnedTokens, imageTokens, truncated, dropped } = counts
  return { base: card.id, maxTokens, tokens, learnedTokens, imageTokens, truncated, dropped }
}

type Tokens = Awaited<ReturnType<typeof tokensOf>>

const tokensSentence = ({ base, maxTokens, tokens, learnedTokens, imageTokens, truncated, dropped }: Tokens): string =>
  `${base} reads ${tokensText(tokens)}: ${learnedTokens.toLocaleString('en')} are learned, ${imageTokens.toLocaleString('en')} are of pictures. ` +
  (truncated + dropped === 0
    ? `All examples fit in ${tokensText(maxTokens)}.\n`
    : `${countedText(truncated, 'example')} longer than ${tokensText(maxTokens)} would be cut, and ${dropped} left out with nothing to learn.\n`)
