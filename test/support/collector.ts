import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

type Value = string | number | boolean | Value[]
export type Attributes = Readonly<Record<string, Value>>

export interface ReceivedSpan {
  name: string
  traceId: string
  id: string
  /** Empty: it has none. */
  parent: string
  /** 1: internal, 2: server. */
  kind: number
  /** ms since 1970 */
  start: number
  end: number
  /** 2: error */
  status: number
  attributes: Attributes
  resource: Attributes
}

export interface ReceivedMetric {
  name: string
  unit: string
  type: 'gauge' | 'sum' | 'histogram'
  /** Of a histogram: how many values lie between two bounds. */
  points: { attributes: Attributes; value: number; bounds: number[]; counts: number[]; count: number }[]
}

/** A collector of OpenTelemetry on loopback. It reads protobuf. */
export interface Collector {
  url: string
  /** All bodies so far, as they came. */
  bodies: Buffer[]
  spans: ReceivedSpan[]
  /** What came last. */
  metrics: ReceivedMetric[]
  close(): Promise<void>
}

export async function startCollector(): Promise<Collector> {
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part)
    const body = Buffer.concat(parts)
    collector.bodies.push(body)
    if (request.headers['content-type'] !== 'application/x-protobuf') response.statusCode = 415
    else if (request.url === '/v1/traces') collector.spans.push(...spansOf(body))
    else if (request.url === '/v1/metrics') collector.metrics = metricsOf(body)
    else response.statusCode = 404
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const collector: Collector = {
    url: `http://127.0.0.1:${port}`,
    bodies: [],
    spans: [],
    metrics: [],
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return collector
}

/** The fields of a message by their numbers, in the schemas of `opentelemetry-proto`. */
class Message {
  readonly #fields = new Map<number, Buffer[]>()

  constructor(bytes: Buffer) {
    let at = 0
    const varint = (): number => {
      let value = 0n
      for (let shift = 0n; ; shift += 7n) {
        const byte = bytes[at++] ?? 0
        value |= BigInt(byte & 127) << shift
        if (byte < 128) return Number(value)
      }
    }
    while (at < bytes.length) {
      const tag = varint()
      let from = at
      if ((tag & 7) === 0) varint()
      else if ((tag & 7) === 1) at += 8
      else if ((tag & 7) === 2) {
        const length = varint()
        from = at
        at += length
      } else at += 4
      this.#fields.set(tag >> 3, [...(this.#fields.get(tag >> 3) ?? []), bytes.subarray(from, at)])
    }
  }

  has(field: number): boolean {
    return this.#fields.has(field)
  }

  all(field: number): Message[] {
    return this.buffers(field).map((bytes) => new Message(bytes))
  }

  buffers(field: number): Buffer[] {
    return this.#fields.get(field) ?? []
  }

  bytes(field: number): Buffer {
    return this.buffers(field)[0] ?? Buffer.alloc(0)
  }

  text(field: number): string {
    return this.bytes(field).toString()
  }

  int(field: number): number {
    return this.bytes(field).reduceRight((sum, byte) => sum * 128 + (byte & 127), 0)
  }

  fixed(field: number): number {
    return this.has(field) ? Number(this.bytes(field).readBigUInt64LE()) : 0
  }

  double(field: number): number {
    return this.has(field) ? this.bytes(field).readDoubleLE() : 0
  }

  /** Numbers of 8 bytes in one field. */
  packed(field: number, read: (bytes: Buffer, at: number) => number): number[] {
    const bytes = Buffer.concat(this.buffers(field))
    return Array.from({ length: bytes.length / 8 }, (_, index) => read(bytes, index * 8))
  }
}

function anyValue(value: Message): Value {
  if (value.has(1)) return value.text(1)
  if (value.has(2)) return value.int(2) === 1
  if (value.has(3)) return value.int(3)
  return value.has(4) ? value.double(4) : value.all(5).flatMap((list) => list.all(1).map(anyValue))
}

const attributesOf = (message: Message | undefined, field: number): Attributes =>
  Object.fromEntries(message?.all(field).map((pair) => [pair.text(1), pair.all(2).map(anyValue)[0] ?? '']) ?? [])

const spansOf = (body: Buffer): ReceivedSpan[] =>
  new Message(body).all(1).flatMap((group) =>
    group.all(2).flatMap((scope) =>
      scope.all(2).map((span) => ({
        name: span.text(5),
        traceId: span.bytes(1).toString('hex'),
        id: span.bytes(2).toString('hex'),
        parent: span.bytes(4).toString('hex'),
        kind: span.int(6),
        start: span.fixed(7) / 1e6,
        end: span.fixed(8) / 1e6,
        status: span.all(15)[0]?.int(3) ?? 0,
        attributes: attributesOf(span, 9),
        resource: attributesOf(group.all(1)[0], 1),
      })),
    ),
  )

const kinds = { 5: 'gauge', 7: 'sum', 9: 'histogram' } as const

const metricsOf = (body: Buffer): ReceivedMetric[] =>
  new Message(body)
    .all(1)
    .flatMap((group) => group.all(2))
    .flatMap((scope) => scope.all(2))
    .flatMap((metric) =>
      ([5, 7, 9] as const).flatMap((kind) =>
        metric.all(kind).map((data) => ({
          name: metric.text(1),
          unit: metric.text(3),
          type: kinds[kind],
          points: data.all(1).map((point) => pointOf(point, kind === 9)),
        })),
      ),
    )

const pointOf = (point: Message, isHistogram: boolean) => ({
  attributes: attributesOf(point, isHistogram ? 9 : 7),
  value: point.double(isHistogram ? 5 : 4),
  count: isHistogram ? point.fixed(4) : 1,
  counts: isHistogram ? point.packed(6, (bytes, at) => Number(bytes.readBigUInt64LE(at))) : [],
  bounds: isHistogram ? point.packed(7, (bytes, at) => bytes.readDoubleLE(at)) : [],
})
