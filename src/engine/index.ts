export { type ImageBounds, weightsBytes } from '../encoders/index.ts'
export type { SchemaPath } from '../language/index.ts'
export { prepareEngine } from './child.ts'
export { chooseDevice, type Device, gpuMemory } from './devices.ts'
export { type EmbeddingEngine, textsAtOnce } from './embedding.ts'
export type {
  AnswerToken,
  AttachmentWork,
  AudioAttachment,
  AudioWork,
  EmbeddedCells,
  Embeddings,
  Engine,
  EngineAttachment,
  EngineModel,
  EnginePhase,
  GenerateEvent,
  GenerateRequest,
  ImageAttachment,
  ImageView,
  ImageWork,
  PromptCount,
  PromptInputs,
  PromptPiece,
  PromptToken,
  Sampling,
  Timings,
} from './generation.ts'
export { startEmbedding, startEngine } from './host.ts'
export type { EngineSettings } from './protocol.ts'
