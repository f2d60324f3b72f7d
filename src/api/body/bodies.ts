import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../../config.ts'
import { Turns } from '../../turns.ts'
import { clientOf } from '../client.ts'
import { BodyMemory, type HeldBody } from './body-memory.ts'
import { type BodyReader, dropRest, readBody } from './read-body.ts'

/** The bodies of a server's requests. */
export class Bodies {
  readonly #maxBytes: number
  readonly #memory: BodyMemory
  readonly #turns = new Turns()
  readonly #held = new WeakMap<IncomingMessage, HeldBody>()

  constructor({ maxBodyBytes, maxBodiesBytes }: Config['server']) {
    this.#maxBytes = maxBodyBytes
    this.#memory = new BodyMemory(Math.max(maxBodyBytes, maxBodiesBytes))
  }

  /** Reads the body of a request, whose memory it has until `end`. @throws OrielError as `readBody` does */
  read(request: FastifyRequest, reader: BodyReader): Promise<unknown> {
    const held = this.#memory.open(clientOf(request))
    this.#held.set(request.raw, held)
    return readBody(request.raw, { reader, held, maxBytes: this.#maxBytes, turns: this.#turns })
  }

  /** The request has its answer, or its client has left. */
  end({ raw }: FastifyRequest): void {
    this.#held.get(raw)?.release()
    dropRest(raw)
  }
}
