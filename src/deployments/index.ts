export {
  type AnswerToken,
  type Backend,
  embedded,
  type GenerateEvent,
  type GenerateRequest,
  type PromptCount,
  type PromptPiece,
  type PromptToken,
  type Sampling,
  type Timings,
} from './backend.ts'
export { type Deployments, deploy, type ListedModel } from './deployments.ts'
