export { memoryStore } from './responses/store.ts'
export { createServer } from './server.ts'
