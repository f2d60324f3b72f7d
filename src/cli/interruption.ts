import { OrielError } from '../errors.ts'

/** A signal that aborts on Ctrl-C. Its reason ends the command without a message. */
export function interruption(): AbortSignal {
  const stop = new AbortController()
  process.once('SIGINT', () => {
    if (process.stderr.isTTY) process.stderr.write('\n')
    stop.abort(new OrielError('cancelled', 'Stopped.', { code: 'interrupted' }))
  })
  return stop.signal
}
