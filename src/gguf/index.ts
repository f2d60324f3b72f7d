export { headerOf } from './cache.ts'
export { type GgufHeader, type MetadataValue, parseHeader } from './header.ts'
export { type Metadata, metadataOf } from './metadata.ts'
export { fileTypes } from './types.ts'
