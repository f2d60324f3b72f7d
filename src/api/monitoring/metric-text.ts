import type { Metric } from '../../telemetry/index.ts'

/** A metric in the text format of Prometheus, version 0.0.4. */
export function metricText({ name, help, type, values }: Metric): string {
  let text = `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n# TYPE ${name} ${type}`
  for (const { metricName = name, labels, value } of values)
    text += `\n${metricName}${labelsOf(labels)} ${numberOf(value)}`
  return text
}

function labelsOf(labels: Metric['values'][number]['labels']): string {
  let text = ''
  for (const label in labels) text += `${text === '' ? '{' : ','}${label}="${escaped(String(labels[label]))}"`
  return text === '' ? '' : `${text}}`
}

const escaped = (value: string): string =>
  /[\\"\n]/.test(value) ? value.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n') : value

const numberOf = (value: number): string =>
  Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'
