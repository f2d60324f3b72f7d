export { lowerPriority } from './priority.ts'
export { startProcess, startThread } from './start.ts'
export { type TaskResult, ThreadOnDemand } from './thread-on-demand.ts'
export { fromWire, toWire, type WireError } from './wire-error.ts'
