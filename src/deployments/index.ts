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
  type TokenChance,
} from './backend.ts'
export { type Deployments, deploy } from './deployments.ts'
