import type { Logger } from '../log.ts'
import type { Metric, Telemetry } from './telemetry.ts'
import { exportedSignals } from './variables.ts'

export type { Metric, Span, Telemetry } from './telemetry.ts'

/**
 * Starts to export what the environment asks for. Without such variables nothing of OpenTelemetry is loaded.
 * @param metrics reads all metrics; called at each export
 * @returns undefined if nothing is exported
 */
export async function startTelemetry(
  metrics: () => Promise<readonly Metric[]>,
  log: Logger,
): Promise<Telemetry | undefined> {
  const signals = exportedSignals(process.env, log)
  if (!signals.traces && !signals.metrics) return undefined
  const { exportTelemetry } = await import('./sdk.ts')
  return exportTelemetry(signals, metrics, log)
}
