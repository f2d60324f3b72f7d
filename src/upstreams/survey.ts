import type { ModelInfo } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import { connect } from './connection.ts'
import { routed } from './models.ts'
import type { UpstreamSettings } from './settings.ts'
import type { Upstream } from './target.ts'
import { wires } from './wire/index.ts'

/** What an upstream says when it is asked once. */
export interface Surveyed {
  readonly name: string
  readonly api: string
  /** That the configuration lists, or that it says it has. */
  readonly models: readonly ModelInfo[]
  /** Why it has not answered. */
  readonly error: OrielError | null
}

/** How long an upstream may take to answer, in ms. */
const patience = 5000

/** Asks upstreams side by side which models they have. */
export function survey(all: readonly UpstreamSettings[]): Promise<Surveyed[]> {
  return Promise.all(
    all.map(async (settings): Promise<Surveyed> => {
      const { name, api } = settings
      const upstream: Upstream = { settings, connection: connect(settings) }
      const modelsOf = (found: Parameters<typeof routed>[0][number]['found']) =>
        routed([{ upstream, found }]).map(({ info }) => info)
      try {
        const found = await wires[api].models(upstream, AbortSignal.timeout(patience))
        return { name, api, models: modelsOf(found), error: null }
      } catch (error) {
        const models = modelsOf(undefined)
        return { name, api, models, error: reasonOf(name, error) }
      } finally {
        await upstream.connection.close()
      }
    }),
  )
}

function reasonOf(name: string, error: unknown): OrielError {
  const cause = error instanceof Error && error.cause instanceof OrielError ? error.cause : error
  const why =
    cause instanceof OrielError && cause.kind !== 'cancelled'
      ? cause.message
      : `It takes more than ${patience / 1000} s.`
  return new OrielError('engine_failed', `The upstream ${name} does not say which models it has. ${why}`)
}
