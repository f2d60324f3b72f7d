export { type GgufHeader, headerOf, type MetadataValue, parseHeader } from './header.ts'
export { type Metadata, metadataOf } from './metadata.ts'
export { fileTypes, typeNumber } from './types.ts'
export { bytesOf, headerBytes, paddingAfter } from './write.ts'
