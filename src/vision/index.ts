export type { Architecture, PicturePlan } from './architecture.ts'
export { openArchitecture, openEncoder } from './encoder.ts'
