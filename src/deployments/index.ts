export {
  type AnswerToken,
  type Backend,
  type GenerateEvent,
  type GenerateRequest,
  type PromptPiece,
  startEmbedded,
  type Timings,
} from './backend.ts'
export { type Deployments, deploy } from './deployments.ts'
