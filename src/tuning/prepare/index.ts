export { openReader, type ReadingConfig, readingOf } from './open-reader.ts'
export { examine, type Prepared, prepare } from './prepare.ts'
