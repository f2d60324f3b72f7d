/** Sends spans and metrics to a collector of OpenTelemetry, as its standard variables say. */
export interface Telemetry {
  /** Sends a span that has ended, with its children. @param headers of the request, whose `traceparent` it continues */
  trace(span: Span, headers: Readonly<Record<string, string | string[] | undefined>>): void
  /** Sends what is not sent yet, for a second at most. */
  close(): Promise<void>
}

/** A stretch of time in the life of a request. Times are in ms since 1970. */
export interface Span {
  readonly name: string
  readonly start: number
  readonly end: number
  readonly attributes: Readonly<Record<string, string | number | string[]>>
  /** The identifier of what went wrong, if the server failed. */
  readonly failure?: string | undefined
  readonly children?: readonly Span[]
}

/** A metric with all of its series, in the form of `prom-client`. */
export interface Metric {
  readonly name: string
  readonly help: string
  /** A word, such as `seconds`; of a share `ratio`. */
  readonly unit: string
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  /** Those of each series of a histogram follow one another: `_bucket` with the label `le`, from the least on, `_sum`, `_count`. */
  readonly values: readonly {
    readonly metricName?: string | undefined
    readonly labels: Readonly<Partial<Record<string, string | number>>>
    readonly value: number
  }[]
}
