import { createRequire } from 'node:module'
import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino'
import type { PrettyOptions } from 'pino-pretty'

export type { Logger } from 'pino'

/**
 * Logs to stderr, because stdout is for answers and the ready line.
 * @param format `auto`: lines for a person if stderr is a terminal, JSON otherwise
 */
export const createLogger = (level: string, format: 'auto' | 'json' = 'json'): Logger =>
  pino(
    { level, base: null, serializers: { cause: describe } },
    format === 'auto' && process.stderr.isTTY ? forPerson() : pino.destination({ dest: 2, sync: false }),
  )

/** Passes warnings on as sentences, for commands that report their errors themselves. */
export const createWarner = (warn: (sentence: string) => void): Logger =>
  pino(
    { level: 'warn', base: null },
    {
      write(line) {
        const { level, msg }: { level: number; msg: string } = JSON.parse(line)
        if (level === pino.levels.values.warn) warn(msg)
      },
    },
  )

/** Loaded only for a terminal: it takes as long as all the rest of a short command. */
function forPerson(): DestinationStream {
  const pretty = createRequire(import.meta.url)('pino-pretty') as (options: PrettyOptions) => DestinationStream
  return pretty({
    destination: 2,
    sync: true,
    colorize: !process.env.NO_COLOR,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss',
    // Names of errors' stacks and of nested values stay readable in one line.
    errorLikeObjectKeys: ['err', 'error', 'cause'],
  })
}

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
