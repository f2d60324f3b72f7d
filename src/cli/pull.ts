import type { PulledAdapter } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import { PullProgress } from './pull-progress.ts'
import { type Flags, libraryOf } from './settings.ts'

/** `oriel pull`: downloads a model. @throws OrielError with one sentence for the person */
export async function pullModel(
  name: string,
  { anyway = false, ...flags }: Flags & { anyway?: boolean },
): Promise<{ id: string }> {
  const library = libraryOf(flags)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  process.once('SIGTERM', () => stop.abort())
  const progress = new PullProgress(process.stderr)
  try {
    const card = await library.pull(name, { anyway, signal: stop.signal, onEvent: (event) => progress.show(event) })
    progress.end()
    if ('unusable' in card) {
      process.stdout.write(adapterText(card))
      return { id: card.id }
    }
    const known = card.aliases.includes(name) ? name : card.id
    process.stdout.write(
      `${card.id} is ready (${bytesText(card.bytes)}). Serve it with: oriel serve --model ${known}\n`,
    )
    return { id: card.id }
  } finally {
    progress.end()
  }
}

function adapterText({ id, bytes, fits: [base], unusable }: PulledAdapter): string {
  const here = `The adapter ${id} is here (${bytesText(bytes)})`
  if (unusable !== null) return `${here}, and cannot be used: ${unusable.message}\n`
  return `${here}. Requests name it ${id} or ${base}#${id}.\n`
}
