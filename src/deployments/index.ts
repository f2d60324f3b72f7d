export {
  type AnswerPiece,
  type AttachmentPart,
  type ChatMessage,
  type ContentPart,
  endsInAnswer,
  type PromptPart,
} from '../prompt/index.ts'
export {
  type Ask,
  type Attachment,
  type CallableTool,
  type Calling,
  type ChatPrompt,
  type PlainPrompt,
  plainSettings,
  type Sampling,
  type Settings,
} from './ask.ts'
export type {
  Answer,
  AnswerEvent,
  AnswerToken,
  Backend,
  BackendState,
  Count,
  DescribedPrompt,
  EndReason,
  MediaTimings,
  ModelInfo,
  PartCount,
  PromptUsage,
  Tally,
  Timings,
} from './backend.ts'
export { type Choice, Collected } from './collected.ts'
export { type Deployments, deploy, type ListedModel } from './deployments.ts'
export { embedded, embeddedBackend } from './embedded/backend.ts'
