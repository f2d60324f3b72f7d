export type { AnswerToken as ToldToken, DescribedPrompt } from '../../deployments/index.ts'
