export type { AdapterCard as Adapter } from '../models/index.ts'
export {
  type AnswerPiece,
  type AttachmentPart,
  type ChatMessage,
  type ContentPart,
  endsInAnswer,
  noArguments,
  type PromptPart,
} from '../prompt/index.ts'
// The port.
export * from './ask.ts'
export type * from './backend.ts'
export { type Choice, Collected, isCutOff } from './collected.ts'
export type { DeploymentStatus } from './configured.ts'
export type { DeployedModel } from './deployed-models.ts'
export { type Deployments, deploy, memoryBudget } from './deployments.ts'
export { embedded, embeddedBackend } from './embedded/backend.ts'
export { embeddedReader, type Reader, type ReadPrompt } from './embedded/reader.ts'
export type { EmbedAsk, Served } from './embedder.ts'
export { checkId, Keeper, keyOf, type Name, type ResourceStore, randomId } from './kept.ts'
export type { InspectedModel, ListedModel } from './listing.ts'
export type { Reserved } from './memory-budget.ts'
export { memoryText, type Planned, type PlannedConfig, planMemory } from './memory-plan.ts'
export type { NamedModel } from './named-model.ts'
export { adapterCalled, isCalled, noAdapter, withoutAccount } from './names.ts'
export { mostReplicas, purgeMs, type Wanted } from './record.ts'
export { mostLoad, tracesOf } from './routing.ts'
export type { UpstreamModel, UpstreamModels, UpstreamStatus } from './upstream-models.ts'
export { nameAt } from './upstream-models.ts'
