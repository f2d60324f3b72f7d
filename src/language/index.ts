export { type Decoder, type GpuSettings, openDecoder } from './decoder.ts'
export { jsonSchemaGrammar } from './grammar/json-schema.ts'
export type { SamplerSettings, TokenSampler, TokenSearch } from './sampler.ts'
export type { Vocabulary } from './vocabulary.ts'
