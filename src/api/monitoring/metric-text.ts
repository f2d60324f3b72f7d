import type { Metric } from '../../telemetry/index.ts'

/** Metrics in the text format of Prometheus, version 0.0.4. */
export const metricText = (metrics: readonly Metric[]): string => `${metrics.map(oneOf).join('\n\n')}\n`

function oneOf({ name, help, type, values }: Metric): string {
  const lines = values.map(
    ({ metricName = name, labels, value }) => `${metricName}${labelsOf(labels)} ${numberOf(value)}`,
  )
  return [
    `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`,
    `# TYPE ${name} ${type}`,
    ...lines,
  ].join('\n')
}

function labelsOf(labels: Metric['values'][number]['labels']): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escaped(String(value))}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const escaped = (value: string): string => value.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')

const numberOf = (value: number): string =>
  Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'
