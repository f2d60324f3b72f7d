import {
  type Context,
  DiagLogLevel,
  defaultTextMapGetter,
  diag,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import { within } from '../within.ts'
import { metricData } from './metric-data.ts'
import type { Metric, Span, Telemetry } from './telemetry.ts'
import type { Signals } from './variables.ts'

/** How long closing waits for the collector, in ms: the process is about to exit. */
const longestClose = 1000
/** A collector that is away is mentioned this often, in ms. */
const complaintInterval = 300_000
/** The defaults of `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_METRIC_EXPORT_TIMEOUT`, in ms. */
const usual = { interval: 60_000, timeout: 30_000 }

const scope = { name: 'oriel', version }

/** The SDK of OpenTelemetry reads endpoints, headers, samplers and limits from the environment itself. */
export function exportTelemetry(signals: Signals, metrics: () => Promise<readonly Metric[]>, log: Logger): Telemetry {
  reportTroubles(log)
  const resource = defaultResource()
    .merge(resourceFromAttributes({ 'service.name': scope.name, 'service.version': version }))
    .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] }))
  const traces = signals.traces ? tracerProvider(resource) : undefined
  const meters = signals.metrics ? meterProvider(resource, metrics) : undefined
  const tracer = traces?.getTracer(scope.name, version)
  const propagator = new W3CTraceContextPropagator()
  return {
    trace(span, headers) {
      if (tracer !== undefined) write(tracer, span, propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter))
    },
    async close() {
      await within(longestClose, Promise.allSettled([traces?.shutdown(), meters?.shutdown()]))
    },
  }
}

const tracerProvider = (resource: Resource): BasicTracerProvider =>
  new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] })

/** Has no instruments: what is exported are the numbers of `/metrics`, read when they are due. */
function meterProvider(resource: Resource, metrics: () => Promise<readonly Metric[]>): MeterProvider {
  const interval = Number(process.env.OTEL_METRIC_EXPORT_INTERVAL) || usual.interval
  const timeout = Number(process.env.OTEL_METRIC_EXPORT_TIMEOUT) || usual.timeout
  const start = Date.now()
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis: interval,
    exportTimeoutMillis: Math.min(interval, timeout),
    metricProducers: [
      {
        async collect() {
          const scopeMetrics = [{ scope, metrics: metricData(await metrics(), start, Date.now()) }]
          return { resourceMetrics: { resource, scopeMetrics }, errors: [] }
        },
      },
    ],
  })
  return new MeterProvider({ resource, readers: [reader] })
}

function write(tracer: Tracer, { name, start, end, attributes, failure, children = [] }: Span, parent: Context): void {
  const isRoot = trace.getSpan(parent)?.isRecording() !== true
  const span = tracer.startSpan(
    name,
    { startTime: start, attributes, kind: isRoot ? SpanKind.SERVER : SpanKind.INTERNAL },
    parent,
  )
  if (span.isRecording()) {
    if (failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: failure })
    for (const child of children) write(tracer, child, trace.setSpan(parent, span))
  }
  span.end(end)
}

/** What the SDK complains about goes to the log: at most one line for each interval, as it does so at every export. */
function reportTroubles(log: Logger): void {
  let last = Number.NEGATIVE_INFINITY
  const complain = (reason: string): void => {
    if (performance.now() - last < complaintInterval) return
    last = performance.now()
    log.warn({ reason }, 'OpenTelemetry has a problem')
  }
  const quiet = () => {}
  diag.setLogger(
    { error: complain, warn: complain, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  setGlobalErrorHandler((error) => complain(error instanceof Error ? error.message : String(error)))
}
