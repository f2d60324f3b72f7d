import { readFileSync } from 'node:fs'
import type { Config } from '../config.ts'
import type { upstreamApis } from '../config-upstreams.ts'
import { OrielError } from '../errors.ts'
import { hideVariable } from '../secrets.ts'

export type UpstreamApi = (typeof upstreamApis)[number]

type Configured = Config['upstreams'][number]

/** A model of an upstream that the configuration names. */
export type UpstreamModel = Readonly<NonNullable<Configured['models']>[number]>

/** An upstream as it is configured, with what the configuration refers to. */
export interface UpstreamSettings extends Readonly<Omit<Configured, 'keyFrom' | 'ca' | 'models'>> {
  /** Without a slash and without `/v1` at its end: `http://host:8000`. */
  readonly url: string
  /** Whom it is shown to but the upstream: nobody. */
  readonly key: string | null
  /** Null: the upstream is asked. */
  readonly models: readonly UpstreamModel[] | null
  /** Certificates in PEM. */
  readonly ca: string | null
}

/**
 * Reads the keys and the certificates that the configuration refers to.
 * @throws OrielError `invalid` that names the upstream, with the code `bad_configuration`
 */
export function settingsOf(upstreams: Config['upstreams'], env: NodeJS.ProcessEnv = process.env): UpstreamSettings[] {
  return upstreams.map(({ keyFrom, ca, key, url, ...configured }) => ({
    ...configured,
    url: url.replace(/\/*(\/v1)?\/*$/, ''),
    key: keyFrom === null ? key : keyIn(keyFrom, configured.name, env),
    ca: ca === null ? null : certificatesIn(ca, configured.name),
  }))
}

function keyIn(variable: string, upstream: string, env: NodeJS.ProcessEnv): string {
  const key = env[variable]?.trim()
  if (!key) throw refused(upstream, `takes its key from ${variable}, which is not set`)
  hideVariable(variable)
  return key
}

function certificatesIn(file: string, upstream: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw refused(upstream, `has its certificates in ${file}, which cannot be read`, cause)
  }
}

const refused = (upstream: string, why: string, cause?: unknown): OrielError =>
  new OrielError('invalid', `The upstream ${upstream} ${why}.`, { code: 'bad_configuration', cause })
