export type { PullState, Upload } from '../models/index.ts'
export { type Estimates, estimatesFor, usualImage } from './estimates.ts'
export { details, type ImageTokens, imageTokens } from './image-tokens.ts'
export { createMachine, type Machine, type MachineModel } from './machine.ts'
