import { prepareEncoder } from './encoder.ts'
import { EngineProcess } from './engine-process.ts'
import { readPayloads } from './pieces.ts'
import type { ToEngine } from './protocol.ts'

prepareEncoder()
const engine = new EngineProcess((message) => {
  if (process.connected) process.send?.(message)
})
process.on('message', (message: ToEngine) => engine.receive(message))
readPayloads((message) => engine.receive(message))
process.on('disconnect', () => process.exit(0))
// The parent may have ended while this process read its code.
if (!process.connected) process.exit(0)
// A terminal sends these signals to the whole process group. The parent decides when the engine ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
