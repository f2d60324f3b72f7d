import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Accounts, Identity, Scope } from '../accounts/index.ts'
import { within } from '../within.ts'
import { addressOf } from './client.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sends it. Set before its body is read, except where anyone may ask. */
    identity: Identity
  }
  interface FastifyContextConfig {
    /** What a key must be for, on a server that needs keys; null: anyone may ask. */
    scope?: Scope | null
  }
}

/** How long who is asked for no key waits for what theirs is for, in ms. */
const longestToKnow = 500

/** Lets requests in that have a key for what they ask. A server without keys lets all in. */
export class Access {
  readonly #accounts: Accounts

  constructor(server: FastifyInstance, accounts: Accounts) {
    this.#accounts = accounts
    server.decorateRequest('identity')
  }

  /** @throws OrielError `unauthorized`, `forbidden`, `rate_limited`, `overloaded` */
  async enter(request: FastifyRequest): Promise<void> {
    const { scope = 'admin' } = request.routeOptions.config
    if (scope === null) return
    request.identity = await this.#identify(request)
    if (await this.#accounts.required()) this.#accounts.allow(request.identity, scope)
  }

  /** Whether a request that anyone may send has a key for more. False if that cannot be known soon. */
  async has(request: FastifyRequest, scope: Scope): Promise<boolean> {
    const allowed = this.#identify(request).then(
      (identity) => identity.scopes.includes(scope),
      () => false,
    )
    return (await within(longestToKnow, allowed)) ?? false
  }

  #identify(request: FastifyRequest): Promise<Identity> {
    return this.#accounts.authenticate(keyOf(request), addressOf(request.ip))
  }
}

/** OpenAI's clients send a bearer token, Anthropic's the other header. */
function keyOf({ headers }: FastifyRequest): string | undefined {
  const [, bearer] = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
  const other = headers['x-api-key']
  return bearer ?? (typeof other === 'string' ? other.trim() : undefined)
}
