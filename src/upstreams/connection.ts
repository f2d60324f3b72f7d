import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { rootCertificates } from 'node:tls'
import type { Dispatcher, Pool } from 'undici'
import { onAbort } from '../abort.ts'
import { deferred } from '../deferred.ts'
import { cancelled, OrielError, shuttingDown } from '../errors.ts'
import { version } from '../version.ts'
import { AttemptFailed } from './attempt-failed.ts'
import type { UpstreamSettings } from './settings.ts'
import type { Call, Connection, Received } from './target.ts'

/** Connects on demand. Connections without a request are kept for a few seconds. */
export function connect(settings: UpstreamSettings): Connection {
  const { origin, pathname } = new URL(settings.url)
  const below = pathname.replace(/\/$/, '')
  let opening: Promise<Pool> | undefined
  const send = async (call: Call, signal: AbortSignal): Promise<Received> => {
    opening ??= open(origin, settings)
    const dispatcher = await opening
    const { path, method } = call
    const { body, headers } = await sentBody(call.body)
    const exchange = new Exchange(settings, signal)
    dispatcher.dispatch(
      { path: below + path, method, body, headers: { ...usualHeaders, ...headers, ...call.headers } },
      exchange,
    )
    return exchange.received
  }
  return {
    async send(call, signal) {
      const sent = performance.now()
      try {
        return await send(call, signal)
      } catch (error) {
        // Later it was at work on the request, which may have been costly, or have ended it.
        const atOnce = performance.now() - sent < mostForStale
        if (!(atOnce && error instanceof AttemptFailed && (await isStale(error.error.cause)))) throw error
        return send(call, signal)
      }
    },
    // What it ends must not be taken for a fault of the upstream.
    close: async () => (await opening)?.destroy(shuttingDown()),
  }
}

const usualHeaders = { 'user-agent': `Oriel/${version}`, 'accept-encoding': 'identity' }

/** Bytes of a body that are encrypted and sent at once, which takes a fraction of a millisecond. */
const sentAtOnce = 256 * 1024

async function sentBody(body: Call['body']): Promise<{ body: string | Buffer | Readable | null; headers: object }> {
  if (body === null || typeof body === 'string') return { body, headers: {} }
  const chunks = await body.chunks()
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  if (length <= sentAtOnce) return { body: Buffer.concat(chunks), headers: {} }
  return { body: Readable.from(inPieces(chunks)), headers: { 'content-length': String(length) } }
}

/** Files may have many megabytes: others have their turn between two pieces. */
async function* inPieces(chunks: readonly Buffer[]): AsyncGenerator<Buffer, void, void> {
  for (const chunk of chunks)
    for (let from = 0; from < chunk.length; from += sentAtOnce) {
      yield chunk.subarray(from, from + sentAtOnce)
      await nextTurn()
    }
}

async function open(origin: string, { connectTimeoutMs, ca }: UpstreamSettings): Promise<Pool> {
  const { Pool } = await import('undici')
  return new Pool(origin, {
    connect: { timeout: connectTimeoutMs, ...(ca !== null && { ca: [...rootCertificates, ca] }) },
    // Each exchange has its own clock: undici has none for the first byte of a body.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

/** So soon a connection that was closed before says so, in ms. */
const mostForStale = 1000

/** Whether the server closed a connection that it had kept, in the moment in which a request was sent on it. */
async function isStale(cause: unknown): Promise<boolean> {
  const { errors } = await import('undici')
  return cause instanceof errors.SocketError && (cause.socket?.bytesRead ?? 0) > 0
}

/** Bytes of a body that may wait to be read. The upstream waits while there are more. */
const mostWaiting = 64 * 1024

/** One request and its response. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #settings: UpstreamSettings
  #removeListener = (): void => {}
  readonly #received = deferred<Received>()
  readonly #chunks: Buffer[] = []
  readonly #clock: NodeJS.Timeout
  #controller: Dispatcher.DispatchController | undefined
  #idleClock: NodeJS.Timeout | undefined
  #waiting = 0
  #hasBegun = false
  #over: 'ended' | Error | undefined
  #wake = (): void => {}

  constructor(settings: UpstreamSettings, signal: AbortSignal) {
    this.#settings = settings
    const { firstByteTimeoutMs } = settings
    this.#clock = setTimeout(() => this.#stop(tookTooLong(firstByteTimeoutMs)), firstByteTimeoutMs)
    this.#removeListener = onAbort(signal, () => this.#drop())
  }

  get received(): Promise<Received> {
    return this.#received.promise
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over instanceof Error) controller.abort(this.#over)
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return
    this.#hasBegun = true
    this.#received.resolve({ status, headers, body: this.#body() })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#waiting += chunk.length
    if (this.#waiting > mostWaiting) {
      controller.pause()
      clearTimeout(this.#idleClock)
      // A timer that was cleared cannot be refreshed.
      this.#idleClock = undefined
    } else this.#startIdle()
    this.#wake()
  }

  onResponseEnd(): void {
    this.#end('ended')
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#end(this.#explain(error))
  }

  /** Ends the request at the upstream. */
  #stop(why: Error): void {
    this.#end(why)
    this.#controller?.abort(why)
  }

  /** Nobody reads it any more. */
  #drop(): void {
    this.#chunks.length = 0
    this.#stop(cancelled())
  }

  /** What was received before stays readable. */
  #end(how: 'ended' | Error): void {
    if (this.#over !== undefined) return
    this.#over = how
    clearTimeout(this.#clock)
    clearTimeout(this.#idleClock)
    this.#removeListener()
    if (how !== 'ended') this.#received.reject(how)
    this.#wake()
  }

  #startIdle(): void {
    clearTimeout(this.#clock)
    const { idleTimeoutMs } = this.#settings
    if (this.#idleClock === undefined)
      this.#idleClock = setTimeout(() => this.#stop(pausedTooLong(idleTimeoutMs)), idleTimeoutMs)
    else this.#idleClock.refresh()
  }

  async #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#waiting -= chunk.length
        if (this.#over === undefined && this.#controller?.paused && this.#chunks.length === 0) {
          this.#startIdle()
          this.#controller.resume()
        }
        return { value: chunk, done: false }
      }
      if (this.#over === 'ended') return { value: undefined, done: true }
      if (this.#over !== undefined) throw this.#over
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #body(): Received['body'] {
    const cancel = (): void => this.#drop()
    const iterator: AsyncIterator<Uint8Array, undefined> = {
      next: () => this.#next(),
      async return() {
        cancel()
        return { value: undefined, done: true }
      },
    }
    return { cancel, [Symbol.asyncIterator]: () => iterator }
  }

  #explain(cause: Error): OrielError | AttemptFailed {
    if (cause instanceof OrielError) return cause
    if (this.#controller === undefined) return unreachable(cause)
    return this.#hasBegun ? brokeOff(cause) : closed(cause)
  }
}

const failure = (message: string, code: string, elsewhere: boolean, cause?: unknown): AttemptFailed =>
  new AttemptFailed(new OrielError('engine_failed', message, { code, cause }), { elsewhere, isFault: true })

const unreachable = (cause: unknown): AttemptFailed =>
  failure('The server that answers for this model cannot be reached.', 'upstream_unreachable', true, cause)

const closed = (cause: unknown): AttemptFailed =>
  failure('The server that answers for this model closed the connection.', 'upstream_closed', true, cause)

const brokeOff = (cause: unknown): AttemptFailed =>
  failure('The server that answers for this model broke off.', 'upstream_broke_off', false, cause)

/** It is not tried elsewhere: it would be as long there, and the client has waited already. */
const tookTooLong = (ms: number): AttemptFailed =>
  failure(`The server that answers for this model did not begin within ${ms / 1000} s.`, 'upstream_timeout', false)

const pausedTooLong = (ms: number): AttemptFailed =>
  failure(`The server that answers for this model sent nothing for ${ms / 1000} s.`, 'upstream_timeout', false)
