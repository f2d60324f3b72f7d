export type { Architecture, PicturePlan } from './architecture.ts'
export { type EncoderSettings, openArchitecture, openEncoder } from './encoder.ts'
