import pino from 'pino'
import { connect } from '../../src/upstreams/connection.ts'
import type { UpstreamSettings } from '../../src/upstreams/settings.ts'
import type { Target } from '../../src/upstreams/target.ts'

/** Settings with the defaults of the configuration. */
export const settingsFor = (url: string, changes: Partial<UpstreamSettings> = {}): UpstreamSettings => ({
  name: 'there',
  url,
  api: 'vllm',
  key: null,
  models: null,
  weight: 1,
  fetchesUrls: false,
  connectTimeoutMs: 3000,
  firstByteTimeoutMs: 120_000,
  idleTimeoutMs: 60_000,
  maxInFlight: null,
  ca: null,
  ...changes,
})

/** Targets that nobody connects to, one for each weight. */
export const targetsOf = (weights: readonly number[], changes: Partial<UpstreamSettings> = {}): Target[] =>
  weights.map((weight, at) => {
    const settings = settingsFor(`http://${at}.example`, { name: `there-${at}`, weight, ...changes })
    return { upstream: { settings, connection: connect(settings) }, model: 'a', weight }
  })

export const silent = pino({ level: 'silent' })
