export type { Counts } from './counts.ts'
export { openReader } from './open-reader.ts'
export { examine, type Prepared, prepare } from './prepare.ts'
