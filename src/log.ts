import { type Logger, pino, stdSerializers } from 'pino'

export type { Logger } from 'pino'

/** Logs JSON lines to stderr, because stdout is for answers and the ready line. */
export const createLogger = (level: string): Logger =>
  pino({ level, base: null, serializers: { cause: describe } }, pino.destination({ dest: 2, sync: false }))

/** An error with its stack and causes. A library may quote what a client sent in its message, so quotes are left out. */
function describe(cause: unknown): unknown {
  if (!(cause instanceof Error)) return typeof cause === 'string' ? withoutQuotes(cause) : typeof cause
  const { type, message, stack } = stdSerializers.err(cause)
  return { type, message: withoutQuotes(message), stack: withoutQuotes(stack) }
}

/** Replaces what stands in quotes by its length, except for names as programs have them. */
const withoutQuotes = (text: string): string =>
  text.replace(/(["'`])((?:(?!\1)[^\\]|\\.)*)\1/gs, (whole: string, mark: string, quoted: string) =>
    /^[A-Za-z_$.]{1,40}$/.test(quoted) ? whole : `${mark}…${mark} (${quoted.length})`,
  )
