import type { PulledAdapter } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import { PullProgress } from './pull-progress.ts'
import { type Flags, libraryOf } from './settings.ts'

const stops = ['SIGINT', 'SIGTERM'] as const

/**
 * `oriel pull`: downloads a model.
 * @param report says what came of it
 * @throws OrielError with one sentence for the person
 */
export async function pullModel(
  name: string,
  { anyway = false, ...flags }: Flags & { anyway?: boolean },
  report: NodeJS.WritableStream = process.stdout,
): Promise<{ id: string }> {
  const library = libraryOf(flags)
  const stop = new AbortController()
  const abort = (): void => stop.abort()
  for (const signal of stops) process.once(signal, abort)
  const progress = new PullProgress(process.stderr)
  try {
    const card = await library.pull(name, { anyway, signal: stop.signal, onEvent: (event) => progress.show(event) })
    progress.end()
    if ('unusable' in card) {
      report.write(adapterText(card))
      return { id: card.id }
    }
    const known = card.aliases.includes(name) ? name : card.id
    report.write(`${card.id} is ready (${bytesText(card.bytes)}). Serve it with: oriel serve --model ${known}\n`)
    return { id: card.id }
  } finally {
    progress.end()
    // What `oriel run` does after the download is stopped in another way.
    for (const signal of stops) process.removeListener(signal, abort)
  }
}

function adapterText({ id, bytes, fits: [base], unusable }: PulledAdapter): string {
  const here = `The adapter ${id} is here (${bytesText(bytes)})`
  if (unusable !== null) return `${here}, and cannot be used: ${unusable.message}\n`
  return `${here}. Requests name it ${id} or ${base}#${id}.\n`
}
