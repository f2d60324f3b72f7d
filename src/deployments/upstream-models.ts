import type { OrielError } from '../errors.ts'
import type { Library, ModelCard } from '../models/index.ts'
import type { Backend, ModelInfo } from './backend.ts'
import { withoutAccount } from './names.ts'

/** The models that servers elsewhere answer for. They come and go. */
export interface UpstreamModels {
  list(): readonly UpstreamModel[]
  /** @param name of a model; `upstream/model` for that of one upstream only */
  find(name: string): Backend | undefined
  /** Resolves when each upstream, or each that may have a model of this name, has been asked once, or does not answer. */
  known(name?: string): Promise<void>
  upstreams(): readonly UpstreamStatus[]
}

export interface UpstreamModel {
  readonly backend: Backend
  /** Why none of its upstreams answers now. */
  readonly fault: OrielError | undefined
}

/** An upstream, for whoever runs the server. Counts are since the start. */
export interface UpstreamStatus {
  readonly name: string
  readonly api: string
  readonly isUp: boolean
  /** How many models it has. */
  readonly models: number
  /** Times that it was asked for an answer, and those that failed by its fault or were repeated elsewhere. */
  readonly requests: number
  readonly failures: number
  readonly retries: number
  readonly inFlight: number
}

/** The name of a model at one upstream. */
export const nameAt = (upstream: string, model: string): string => `${upstream}/${model}`

/**
 * A model that upstreams answer for by the names that it has beside those of this machine: its own, or, if that means a model of
 * this machine, one for each upstream.
 */
export function besideThose(isHere: (name: string) => boolean, info: ModelInfo): ModelInfo[] {
  if (!isHere(info.id)) return [info]
  const { id, upstreams = [] } = info
  return upstreams.map((one) => ({ ...info, id: nameAt(one, id), aliases: [], upstreams: [one] }))
}

/** A server that has none. */
export const noUpstreams: UpstreamModels = {
  list: () => [],
  find: () => undefined,
  known: async () => {},
  upstreams: () => [],
}

/** How long names are known before they are looked up again, in ms. Requests do not wait for it. */
const freshMs = 2000

/** Which names mean models of this machine, so that requests for other models need not search its folders. */
export class NamesHere {
  readonly #library: Library
  readonly #cards: readonly ModelCard[]
  #names: Promise<ReadonlySet<string>> | undefined
  #readAt = 0

  /** @param cards models that are named by their files */
  constructor(library: Library, cards: readonly ModelCard[]) {
    this.#library = library
    this.#cards = cards
  }

  async has(name: string): Promise<boolean> {
    const names = await this.all()
    return names.has(name) || names.has(withoutAccount(name))
  }

  async all(): Promise<ReadonlySet<string>> {
    const isLate = performance.now() - this.#readAt > freshMs
    if (this.#names === undefined || isLate) {
      const before = this.#names
      const reading = this.#read()
      this.#names = before ?? reading
      // What was known stays if the folders cannot be read.
      reading.then(
        () => {
          this.#names = reading
        },
        () => {
          this.#names = before
        },
      )
    }
    return this.#names
  }

  async #read(): Promise<ReadonlySet<string>> {
    this.#readAt = performance.now()
    const [{ models, broken }, { adapters, broken: unusable }] = await Promise.all([
      this.#library.list(),
      this.#library.adapters(),
    ])
    const named = [...this.#cards, ...models, ...adapters].flatMap(({ id, aliases }) => [id, ...aliases])
    return new Set([...named, ...[...broken, ...unusable].map(({ id }) => id)])
  }
}
