export type { Architecture, Detail, PicturePlan } from './architecture.ts'
export { type Encoder, openArchitecture, openEncoder } from './encoder.ts'
