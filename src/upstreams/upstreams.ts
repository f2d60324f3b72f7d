import { isDeepStrictEqual } from 'node:util'
import { type Backend, type UpstreamModel, type UpstreamModels, withoutAccount } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/index.ts'
import { within } from '../within.ts'
import { Asking } from './asking.ts'
import { upstreamBackend } from './backend.ts'
import { connect } from './connection.ts'
import { routed } from './models.ts'
import { createPool } from './pool.ts'
import type { UpstreamSettings } from './settings.ts'
import type { Upstream } from './target.ts'
import { wires } from './wire/index.ts'

/** The models of servers elsewhere. */
export interface Upstreams extends UpstreamModels {
  /**
   * Holds to other settings from now on. Answers that run go on as they have begun, and an upstream whose settings are the
   * same keeps its connections.
   * @returns names of upstreams
   */
  reload(settings: readonly UpstreamSettings[]): Reloaded
  /** Ends what still runs. */
  close(): Promise<void>
}

export interface Reloaded {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
}

/** How long a request waits until the upstreams that may have its model have said what they have, in ms. */
const longestKnown = 5000

export function createUpstreams(
  settings: readonly UpstreamSettings[],
  { media, log }: { media: Media; log: Logger },
): Upstreams {
  const pool = createPool({ probe, log })
  let members: readonly Member[] = []
  let models: readonly UpstreamModel[] = []
  let byName: ReadonlyMap<string, Backend> = new Map()

  /** Running answers keep the backend that they have. */
  const route = (): void => {
    const all = routed(members.map(({ upstream, asking }) => ({ upstream, found: asking.found })))
    const named = new Map<string, Backend>()
    models = all.map(({ info, targets }) => {
      const backend = upstreamBackend({ info, targets }, { pool, media })
      named.set(info.id, backend)
      return {
        backend,
        get fault() {
          return targets.some(({ upstream }) => pool.state(upstream).isUp) ? undefined : nobodyAnswers(info.id)
        },
      }
    })
    // An id wins over the other names of another model.
    for (const { info, targets, names } of all)
      for (const { name, upstream } of names) {
        const own = targets.filter((target) => upstream === undefined || target.upstream === upstream)
        if (!named.has(name)) named.set(name, upstreamBackend({ info, targets: own }, { pool, media }))
      }
    byName = named
  }

  const hold = (wanted: readonly UpstreamSettings[]): Reloaded => {
    const before = new Map(members.map((member) => [member.upstream.settings.name, member]))
    const isSame = (one: UpstreamSettings) => isDeepStrictEqual(before.get(one.name)?.upstream.settings, one)
    const next = wanted.map((one): Member => {
      const known = before.get(one.name)
      if (known !== undefined && isSame(one)) return known
      known?.asking.close()
      const upstream: Upstream = { settings: one, connection: connect(one) }
      return { upstream, asking: new Asking(upstream, known?.asking.found, route, log) }
    })
    const names = new Set(wanted.map(({ name }) => name))
    const removed = members.filter(({ upstream }) => !names.has(upstream.settings.name))
    for (const { asking } of removed) asking.close()
    members = next
    pool.watch(members.map(({ upstream }) => upstream))
    route()
    return {
      added: wanted.filter(({ name }) => !before.has(name)).map(({ name }) => name),
      changed: wanted.filter((one) => before.has(one.name) && !isSame(one)).map(({ name }) => name),
      removed: removed.map(({ upstream }) => upstream.settings.name),
    }
  }
  const find = (name: string): Backend | undefined => byName.get(name) ?? byName.get(withoutAccount(name))
  hold(settings)

  return {
    list: () => models,
    find,
    async known(name) {
      const own = name === undefined ? undefined : find(name)?.info.upstreams
      const unknown = members.filter(
        ({ upstream, asking }) => asking.isUnknown && (own === undefined || own.includes(upstream.settings.name)),
      )
      if (unknown.length > 0) await within(longestKnown, Promise.all(unknown.map(({ asking }) => asking.asked)))
    },
    upstreams: () =>
      members.map(({ upstream }) => ({
        ...{ name: upstream.settings.name, api: upstream.settings.api },
        models: models.filter(({ backend }) => backend.info.upstreams?.includes(upstream.settings.name)).length,
        ...pool.state(upstream),
      })),
    reload: hold,
    async close() {
      for (const { asking } of members) asking.close()
      pool.close()
      await Promise.all(members.map(({ upstream }) => upstream.connection.close()))
    },
  }
}

interface Member {
  readonly upstream: Upstream
  readonly asking: Asking
}

const nobodyAnswers = (model: string): OrielError =>
  new OrielError('engine_failed', `No upstream that has the model ${model} answers now.`, { code: 'upstreams_down' })

/** @throws what is wrong with the upstream */
async function probe({ settings, connection }: Upstream, signal: AbortSignal): Promise<void> {
  const { health, headers } = wires[settings.api]
  const received = await connection.send(
    { ...health, headers: { ...health.headers, ...headers(settings.key) } },
    signal,
  )
  received.body.cancel()
  if (received.status >= 500) throw new OrielError('engine_failed', `It answers with the status ${received.status}.`)
}
