import { loadConfig } from '../../src/load-config.ts'
import { createMedia } from '../../src/media/index.ts'
import { upstreamBackend } from '../../src/upstreams/backend.ts'
import { connect } from '../../src/upstreams/connection.ts'
import { createPool } from '../../src/upstreams/pool.ts'
import type { UpstreamApi } from '../../src/upstreams/settings.ts'
import { wires } from '../../src/upstreams/wire/index.ts'
import { settingsFor, silent } from '../upstreams/targets.ts'
import { startServer, type TestServer } from './server.ts'

export interface Fronted {
  readonly api: UpstreamApi
  readonly url: string
  /** What its model is called here. */
  readonly as: string
  readonly key?: string
  /** Omitted: the first that the upstream lists. */
  readonly model?: string
}

/** A server without models of its own, in front of others. */
export async function startFront(fronted: readonly Fronted[]): Promise<TestServer> {
  const pool = createPool({ probe: async () => {}, log: silent })
  const media = createMedia({ ...loadConfig({}, {}).media, allowPrivate: ['127.0.0.1'] })
  const backends = await Promise.all(
    fronted.map(async ({ api, url, as, key = null, model }) => {
      const settings = settingsFor(url, { name: as, api, key })
      const upstream = { settings, connection: connect(settings) }
      const [found] = model === undefined ? await wires[api].models(upstream, AbortSignal.timeout(10_000)) : []
      const info = {
        ...{ id: as, aliases: [], title: as, description: '', created: 0, contextTokens: found?.contextTokens ?? 0 },
        ...{ inputs: found?.inputs ?? ['image' as const], tools: true, thoughts: true, boxes: false },
      }
      const target = { upstream, model: model ?? found?.id ?? '', weight: 1 }
      return upstreamBackend({ info, targets: [target] }, { pool, media })
    }),
  )
  return startServer({ model: [] }, backends)
}
