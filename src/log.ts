import { type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** Logs JSON lines to stderr, because stdout is for answers and the ready line. */
export const createLogger = (level: string): Logger =>
  pino({ level, base: null }, pino.destination({ dest: 2, sync: false }))
