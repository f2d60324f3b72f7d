import { OrielError } from '../errors.ts'

/** What a person at the terminal can do about an error, by its code. */
const advice: Readonly<Record<string, string>> = {
  port_in_use: 'Stop the program that uses it, or choose another port with --port.',
  port_denied: 'Choose a port above 1023 with --port.',
  bad_host: 'Choose another address with --host.',
  no_gpu: 'Use --gpu off to compute on the CPU.',
  several_models: 'Use --mmproj with one --model.',
}

/** The same error with the advice for its code. */
export function advised(error: unknown): unknown {
  if (!(error instanceof OrielError)) return error
  const words = advice[error.code ?? '']
  return words === undefined ? error : new OrielError(error.kind, `${error.message} ${words}`, { code: error.code })
}
