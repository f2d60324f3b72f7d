import { describe, expect, it } from 'vitest'
import { createWarner } from '../../src/log.ts'
import { exportedSignals } from '../../src/telemetry/variables.ts'

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }

/** What the variables ask for, and what the log says about them. */
function read(env: Record<string, string>) {
  const warnings: string[] = []
  const log = createWarner((sentence) => warnings.push(sentence))
  return { ...exportedSignals(env, log), warnings }
}

describe('the standard variables of OpenTelemetry', () => {
  it('export nothing by default', () => {
    expect(read({})).toEqual({ traces: false, metrics: false, warnings: [] })
    expect(read({ OTEL_SERVICE_NAME: 'oriel' })).toMatchObject({ traces: false, metrics: false })
  })

  it('export traces and metrics to an endpoint, or one of them to its own', () => {
    expect(read(endpoint)).toEqual({ traces: true, metrics: true, warnings: [] })
    const traces = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318/v1/traces' }
    expect(read(traces)).toMatchObject({ traces: true, metrics: false })
    expect(read({ OTEL_METRICS_EXPORTER: 'otlp' })).toMatchObject({ traces: false, metrics: true })
  })

  it('turn off one of them, or all', () => {
    expect(read({ ...endpoint, OTEL_TRACES_EXPORTER: 'none' })).toMatchObject({ traces: false, metrics: true })
    expect(read({ ...endpoint, OTEL_METRICS_EXPORTER: 'prometheus' })).toMatchObject({ traces: true, metrics: false })
    expect(read({ ...endpoint, OTEL_SDK_DISABLED: 'true' })).toEqual({ traces: false, metrics: false, warnings: [] })
  })

  it('are followed with a warning where they name what Oriel does not have', () => {
    expect(read({ ...endpoint, OTEL_TRACES_EXPORTER: 'otlp,zipkin', OTEL_METRICS_EXPORTER: 'none' })).toEqual({
      traces: true,
      metrics: false,
      warnings: ['OTEL_TRACES_EXPORTER names the exporter zipkin, which Oriel does not have'],
    })
    const grpc = { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_METRICS_EXPORTER: 'none' }
    expect(read(grpc)).toMatchObject({
      traces: true,
      warnings: ['traces are sent as http/protobuf: Oriel does not speak OTLP as grpc'],
    })
  })
})
