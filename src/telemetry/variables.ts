import type { Logger } from '../log.ts'

/** What is exported. */
export interface Signals {
  readonly traces: boolean
  readonly metrics: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

/** `prometheus` is what `/metrics` is for, so it changes nothing. */
const exporters = ['otlp', 'none', 'prometheus']
const protocol = 'http/protobuf'

/** What the standard variables ask for. The log names those that cannot be followed. */
export function exportedSignals(env: Environment, log: Logger): Signals {
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return { traces: false, metrics: false }
  const signals = { traces: isExported('TRACES', env, log), metrics: isExported('METRICS', env, log) }
  for (const signal of ['TRACES', 'METRICS'] as const) {
    const asked = env[`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`] || env.OTEL_EXPORTER_OTLP_PROTOCOL || protocol
    if (asked !== protocol && signals[signal === 'TRACES' ? 'traces' : 'metrics'])
      log.warn(`${signal.toLowerCase()} are sent as ${protocol}: Oriel does not speak OTLP as ${asked}`)
  }
  return signals
}

/** Named exporters decide. Without any, an endpoint says that there is a collector. */
function isExported(signal: 'TRACES' | 'METRICS', env: Environment, log: Logger): boolean {
  const variable = `OTEL_${signal}_EXPORTER`
  const named = (env[variable] ?? '').split(',').flatMap((name) => name.trim() || [])
  for (const name of named)
    if (!exporters.includes(name)) log.warn(`${variable} names the exporter ${name}, which Oriel does not have`)
  if (named.length > 0) return named.includes('otlp')
  return Boolean(env.OTEL_EXPORTER_OTLP_ENDPOINT || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`])
}
