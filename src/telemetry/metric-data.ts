import { type HrTime, ValueType } from '@opentelemetry/api'
import { millisToHrTime } from '@opentelemetry/core'
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
} from '@opentelemetry/sdk-metrics'
import type { Metric } from './telemetry.ts'

/** Metrics as OpenTelemetry has them. @param start when they began to count, in ms since 1970 @param end now */
export function metricData(metrics: readonly Metric[], start: number, end: number): MetricData[] {
  const times = { startTime: millisToHrTime(start), endTime: millisToHrTime(end) }
  return metrics.map((metric) => dataOf(metric, times))
}

interface Times {
  startTime: HrTime
  endTime: HrTime
}

function dataOf(metric: Metric, times: Times): MetricData {
  const { name, help, unit, type, values } = metric
  const common = {
    descriptor: { name, description: help, unit: units[unit] ?? `{${unit}}`, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  }
  if (type === 'histogram')
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints: histograms(metric, times) }
  const dataPoints = values.map(({ labels, value }) => ({ ...times, attributes: { ...labels }, value }))
  return type === 'counter'
    ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    : { ...common, dataPointType: DataPointType.GAUGE, dataPoints }
}

/** Prometheus counts what is at most each bound; OpenTelemetry what lies between two. */
function histograms({ name, values }: Metric, times: Times): DataPoint<Histogram>[] {
  const points: DataPoint<Histogram>[] = []
  let boundaries: number[] = []
  let counts: number[] = []
  let before = 0
  let sum = 0
  for (const { metricName, labels, value } of values)
    if (metricName === `${name}_sum`) sum = value
    else if (metricName === `${name}_count`) {
      const buckets = { boundaries, counts }
      points.push({ ...times, attributes: { ...labels }, value: { buckets, sum, count: value } })
      boundaries = []
      counts = []
      before = 0
    } else {
      counts.push(value - before)
      before = value
      if (labels.le !== '+Inf') boundaries.push(Number(labels.le))
    }
  return points
}

/** Units as OpenTelemetry writes them. What is counted, such as tokens, stands in braces. */
const units: Readonly<Record<string, string>> = { seconds: 's', bytes: 'By', ratio: '1' }
