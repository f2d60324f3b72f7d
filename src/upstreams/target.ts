import type { IncomingHttpHeaders } from 'node:http'
import type { AttachmentKind } from '../attachments.ts'
import type { JsonBody } from './body.ts'
import type { UpstreamSettings } from './settings.ts'

/** A server elsewhere that answers. */
export interface Upstream {
  readonly settings: UpstreamSettings
  readonly connection: Connection
}

/** A model at an upstream. */
export interface Target {
  readonly upstream: Upstream
  /** Its id there. */
  readonly model: string
  /** Its share of the requests, relative to other targets of the same model of ours. */
  readonly weight: number
  /** The kinds of attachments that it reads. undefined: those of its API. */
  readonly inputs?: readonly AttachmentKind[]
}

/** The connections to one upstream, which are kept for further requests. */
export interface Connection {
  /**
   * Sends a request. It resolves when the status and headers have arrived, of whatever status; redirects are not followed.
   * Aborting the signal, then or later, ends the request at the upstream too.
   * @throws AttemptFailed if nothing was answered; OrielError `cancelled` if the signal aborts
   */
  send(call: Call, signal: AbortSignal): Promise<Received>
  /** Ends what still runs. */
  close(): Promise<void>
}

export interface Call {
  readonly method: 'GET' | 'POST'
  /** Below the URL of the upstream, with its slash: `/v1/chat/completions`. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | JsonBody | null
}

export interface Received {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** As it arrives, and no faster than it is read. It throws AttemptFailed when it breaks off or pauses too long. */
  readonly body: AsyncIterable<Uint8Array> & {
    /** Ends the request at the upstream, if it still runs. */
    cancel(): void
  }
}
