import { type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** JSON lines on stderr: stdout belongs to answers and to the ready line. */
export const createLogger = (level: string): Logger =>
  pino({ level, base: null }, pino.destination({ dest: 2, sync: false }))
