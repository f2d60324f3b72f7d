import { OrielError } from '../errors.ts'

/** A signal that aborts on Ctrl-C, or on other signals. Its reason ends the command without a message. */
export function interruption(signals: readonly NodeJS.Signals[] = ['SIGINT']): AbortSignal {
  const stop = new AbortController()
  for (const signal of signals)
    process.once(signal, () => {
      if (process.stderr.isTTY) process.stderr.write('\n')
      stop.abort(new OrielError('cancelled', 'Stopped.', { code: 'interrupted' }))
    })
  return stop.signal
}
