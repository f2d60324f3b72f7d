import { EngineProcess } from './engine-process.ts'
import type { ToEngine } from './protocol.ts'

const engine = new EngineProcess((message) => {
  if (process.connected) process.send?.(message)
})
process.on('message', (message: ToEngine) => engine.receive(message))
process.on('disconnect', () => process.exit(0))
// A terminal sends these signals to the whole process group. The parent decides when the engine ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
