import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api'
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
  const series = new Map<
    string,
    { attributes: Attributes; bounds: number[]; upTo: number[]; sum: number; count: number }
  >()
  for (const { metricName, labels, value } of values) {
    const { le, ...attributes } = labels
    const key = JSON.stringify(attributes)
    const one = series.get(key) ?? { attributes, bounds: [], upTo: [], sum: 0, count: 0 }
    series.set(key, one)
    if (metricName === `${name}_sum`) one.sum = value
    else if (metricName === `${name}_count`) one.count = value
    else {
      one.upTo.push(value)
      if (le !== '+Inf') one.bounds.push(Number(le))
    }
  }
  return [...series.values()].map(({ attributes, bounds, upTo, sum, count }) => ({
    ...times,
    attributes,
    value: {
      buckets: { boundaries: bounds, counts: upTo.map((value, index) => value - (upTo[index - 1] ?? 0)) },
      ...{ sum, count },
    },
  }))
}

/** Units as OpenTelemetry writes them. What is counted, such as tokens, stands in braces. */
const units: Readonly<Record<string, string>> = { seconds: 's', bytes: 'By', ratio: '1' }
