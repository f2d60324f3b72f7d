export type { MediaTimings } from '../../deployments/index.ts'
export type { AnswerRooms } from './answer.ts'
