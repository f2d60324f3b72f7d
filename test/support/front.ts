import type { UpstreamApi } from '../../src/upstreams/settings.ts'
import { startServer, type TestServer } from './server.ts'

interface Fronted {
  readonly api: UpstreamApi
  readonly url: string
  /** Its only model, and what it is called here. */
  readonly model: string
  readonly as: string
  readonly key?: string
}

/** A server without models of its own, in front of others. */
export const startFront = (fronted: readonly Fronted[]): Promise<TestServer> =>
  startServer({
    model: [],
    upstreams: fronted.map(({ api, url, model, as, key = null }) => ({
      ...{ name: `${as}-there`, api, url, key, models: [{ id: model, as }] },
    })),
  })
