import { prepareEncoder } from './encoder.ts'
import { EngineProcess } from './engine-process.ts'
import { joinPieces, type Piece } from './pieces.ts'
import type { ToEngine } from './protocol.ts'

prepareEncoder()
const engine = new EngineProcess((message) => {
  if (process.connected) process.send?.(message)
})
const join = joinPieces()
process.on('message', (message: ToEngine | Piece) => {
  const whole = message.type === 'piece' ? join(message) : message
  if (whole !== undefined) engine.receive(whole)
})
process.on('disconnect', () => process.exit(0))
// The parent may have ended while this process read its code.
if (!process.connected) process.exit(0)
// A terminal sends these signals to the whole process group. The parent decides when the engine ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
