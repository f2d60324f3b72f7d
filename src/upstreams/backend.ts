import type { Backend, ModelInfo } from '../deployments/index.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/index.ts'
import type { Pool } from './pool.ts'
import type { Target } from './target.ts'

/** A model of ours that upstreams answer for. */
export interface AnsweredElsewhere {
  readonly info: ModelInfo
  /** At least one. */
  readonly targets: readonly Target[]
}

export interface BackendServices {
  readonly pool: Pool
  readonly media: Media
  readonly log: Logger
}

/** Answers for one model by asking an upstream that has it. It has nothing to close: pool and connections are shared. */
export declare function upstreamBackend(model: AnsweredElsewhere, services: BackendServices): Backend
