import type { Config, Prices } from '../config.ts'
import type { Engine } from '../engine/generation.ts'
import { startEngine } from '../engine/host.ts'
import type { Logger } from '../log.ts'
import type { ModelCard } from '../models/index.ts'

export type {
  AnswerToken,
  GenerateEvent,
  GenerateRequest,
  PromptCount,
  PromptPiece,
  PromptToken,
  Sampling,
  Timings,
} from '../engine/generation.ts'

/** Something that answers for one model: an engine of our own, or a server elsewhere. */
export interface Backend extends Engine {
  readonly card: ModelCard
  readonly prices: Prices
}

/** A model that runs inside this server, in a process of its own. @throws OrielError as `startEngine` does */
export async function startEmbedded(
  card: ModelCard,
  { engine: config, prices }: Pick<Config, 'engine' | 'prices'>,
  log: Logger,
): Promise<Backend> {
  const { id: name, decoder, projector } = card
  const engine = await startEngine({ name, decoder, projector, config, log })
  return {
    card,
    prices,
    model: engine.model,
    generate: (request, signal) => engine.generate(request, signal),
    count: (prompt) => engine.count(prompt),
    state: () => engine.state(),
    close: () => engine.close(),
  }
}
