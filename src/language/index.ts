export { type Decoder, openDecoder } from './decoder.ts'
export type { TokenSampler } from './sampler.ts'
export type { Vocabulary } from './vocabulary.ts'
