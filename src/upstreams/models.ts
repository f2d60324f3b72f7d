import { attachmentKinds } from '../attachments.ts'
import { type ModelInfo, nameAt, withoutAccount } from '../deployments/index.ts'
import type { UpstreamModel } from './settings.ts'
import type { Target, Upstream } from './target.ts'
import type { FoundModel } from './wire/index.ts'

/** A model of ours with what answers for it. */
export interface Routed {
  readonly info: ModelInfo
  readonly targets: readonly Target[]
  /** Its other names: those of all targets, and one for each upstream, which means that upstream only. */
  readonly names: readonly { readonly name: string; readonly upstream?: Upstream }[]
}

/** A model at one upstream: what the configuration and the upstream say of it. */
interface Offered {
  readonly name: string
  readonly target: Target
  readonly configured: UpstreamModel | undefined
  readonly found: FoundModel | undefined
}

/** The models that upstreams offer: those of one name are one, with several targets. */
export function routed(
  upstreams: readonly { upstream: Upstream; found: readonly FoundModel[] | undefined }[],
): Routed[] {
  const offered = new Map<string, Offered[]>()
  for (const { upstream, found } of upstreams)
    for (const one of offeredBy(upstream, found)) offered.set(one.name, [...(offered.get(one.name) ?? []), one])
  return [...offered].map(([name, all]) => {
    const short = withoutAccount(name)
    const own = new Set(all.map(({ target }) => target.upstream))
    const names = [
      ...(short === name ? [] : [{ name: short }]),
      ...[...own].map((upstream) => ({ name: nameAt(upstream.settings.name, name), upstream })),
    ]
    const targets = all.map(({ target }) => target)
    return {
      targets,
      names,
      info: infoOf(
        name,
        names.map(({ name }) => name),
        all,
      ),
    }
  })
}

function offeredBy(upstream: Upstream, found: readonly FoundModel[] = []): Offered[] {
  const { models, weight } = upstream.settings
  const offers = ({ id, as = id }: { id: string; as?: string | null }, configured?: UpstreamModel): Offered => {
    const known = found.find((one) => one.id === id)
    const inputs = configured?.inputs ?? known?.inputs
    return {
      name: as ?? id,
      target: { upstream, model: id, weight, ...(inputs != null && { inputs }) },
      ...{ configured, found: known },
    }
  }
  return models === null
    ? found.filter(({ embeds }) => !embeds).map(({ id, as }) => offers({ id, as }))
    : models.map((one) => offers(one, one))
}

function infoOf(id: string, aliases: readonly string[], all: readonly Offered[]): ModelInfo {
  const upstreams = [...new Set(all.map(({ target }) => target.upstream.settings.name))]
  const contexts = all.map(({ configured, found }) => configured?.contextTokens ?? found?.contextTokens ?? null)
  // An attachment that one of them cannot read goes to another one.
  const inputs = all.flatMap(({ configured, found }) => configured?.inputs ?? found?.inputs ?? ['image' as const])
  return {
    id,
    aliases,
    title: all[0]?.found?.title ?? id,
    description: `Answered by ${upstreams.join(', ')}.`,
    created: Math.max(...all.map(({ found }) => found?.created ?? 0)),
    contextTokens: contexts.includes(null) ? 0 : Math.min(...contexts.map(Number)),
    inputs: attachmentKinds.filter((kind) => inputs.includes(kind)),
    tools: all.some(({ found }) => found?.tools ?? true),
    thoughts: all.some(({ found }) => found?.thoughts ?? false),
    boxes: false,
    upstreams,
  }
}
