import type { BackendState, Deployments, Served } from '../deployments/index.ts'
import { within } from '../within.ts'

/** An engine that has owed an answer for `owed` and has given none for `silent` does not answer. ms */
const longest = { owed: 1000, silent: 10_000 }

export interface KnownEngine {
  readonly model: string
  /** `unknown`: it has not been asked before. */
  readonly status: 'ok' | 'unknown' | 'restarting' | 'not_answering'
  /** What it said last, and how many ms ago. */
  readonly last: { readonly state: BackendState; readonly age: number } | undefined
}

interface Asked {
  /** When the question was asked that it has not answered yet. */
  since: number | undefined
  restarting: boolean
  last: { state: BackendState; at: number } | undefined
  answer: Promise<void>
}

/** What the loaded engines last said about themselves. They are asked in passing: nobody waits for one that hangs. */
export class EngineStates {
  readonly #deployments: Pick<Deployments, 'loaded'>
  readonly #asked = new WeakMap<Served, Asked>()

  constructor(deployments: Pick<Deployments, 'loaded'>) {
    this.#deployments = deployments
  }

  /** What is known after the engines have had time to answer. @param ms the longest wait */
  async fresh(ms: number): Promise<KnownEngine[]> {
    const asked = this.#deployments.loaded().map((backend) => ({ backend, asked: this.#ask(backend) }))
    await within(ms, Promise.all(asked.map(({ asked: { answer } }) => answer)))
    return asked.map(({ backend, asked }) => knownOf(backend, asked))
  }

  #ask(backend: Served): Asked {
    const asked: Asked = this.#asked.get(backend) ?? {
      since: undefined,
      restarting: false,
      last: undefined,
      answer: Promise.resolve(),
    }
    this.#asked.set(backend, asked)
    if (asked.since !== undefined) return asked
    asked.since = performance.now()
    asked.answer = backend.state().then(
      (state) => {
        asked.last = { state, at: performance.now() }
        asked.restarting = false
        asked.since = undefined
      },
      () => {
        asked.restarting = true
        asked.since = undefined
      },
    )
    return asked
  }
}

function knownOf({ info }: Served, { since, restarting, last }: Asked): KnownEngine {
  const now = performance.now()
  const status = restarting
    ? 'restarting'
    : since !== undefined && now - since > longest.owed && now - (last?.at ?? 0) > longest.silent
      ? 'not_answering'
      : last === undefined
        ? 'unknown'
        : 'ok'
  return { model: info.id, status, last: last && { state: last.state, age: now - last.at } }
}
