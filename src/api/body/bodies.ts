import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../../config.ts'
import { cancelled } from '../../errors.ts'
import { Turns } from '../../turns.ts'
import { clientOf, isForwarded } from '../client.ts'
import { BodyMemory, type HeldBody } from './body-memory.ts'
import { FormReader } from './form-reader.ts'
import { JsonReader } from './json-reader.ts'
import { dropRest, readBody } from './read-body.ts'

/** The bodies of a server's requests. */
export class Bodies {
  readonly #maxBytes: { readonly json: number; readonly form: number }
  readonly #memory: BodyMemory
  readonly #turns = new Turns()
  readonly #held = new WeakMap<IncomingMessage, HeldBody>()

  constructor({ maxBodyBytes, maxFormBytes, maxBodiesBytes }: Config['server']) {
    this.#maxBytes = { json: maxBodyBytes, form: maxFormBytes }
    this.#memory = new BodyMemory(Math.max(maxBodyBytes, maxFormBytes, maxBodiesBytes))
  }

  /** Reads the body of a request, whose memory it has until `end`. @throws OrielError as `readBody` does */
  async read(request: FastifyRequest, type: 'json' | 'form'): Promise<unknown> {
    // A client that left while its key was looked up: nobody would call `end`.
    if (request.raw.destroyed) throw cancelled()
    const reader = type === 'json' ? new JsonReader() : formReader(request)
    const held = this.#memory.open(clientOf(request))
    this.#held.set(request.raw, held)
    return readBody(request.raw, { reader, held, maxBytes: this.#maxBytes[type], turns: this.#turns })
  }

  /**
   * Before its refusal is sent. Many proxies cut the connection of a client that has not sent all as soon as they have the
   * answer, and the client does not get it.
   */
  async refuse(request: FastifyRequest): Promise<void> {
    if (!isForwarded(request.headers)) return
    this.#held.get(request.raw)?.release()
    await dropRest(request.raw)
  }

  /** The request has its answer, or its client has left. Many clients read the answer only when they have sent all. */
  async end({ raw }: FastifyRequest): Promise<void> {
    this.#held.get(raw)?.release()
    await dropRest(raw)
    if (!raw.complete) raw.socket.destroy()
  }
}

const formReader = ({ headers }: FastifyRequest): FormReader =>
  new FormReader(headers['content-type'] ?? '', Number(headers['content-length'] ?? 0))
