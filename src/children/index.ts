export { lowerPriority } from './priority.ts'
export { entryOf, startProcess, startThread } from './start.ts'
export { fromWire, toWire, type WireError } from './wire-error.ts'
