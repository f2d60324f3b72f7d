export {
  type AnswerToken,
  type Backend,
  type GenerateEvent,
  type GenerateRequest,
  type PromptCount,
  type PromptPiece,
  type PromptToken,
  type Sampling,
  startEmbedded,
  type Timings,
} from './backend.ts'
export { type Deployments, deploy } from './deployments.ts'
