import { once } from 'node:events'
import { setPriority } from 'node:os'
import { calibrateEncoder } from '../encoders/index.ts'
import { dieWithParent, openNative } from '../native/index.ts'
import type { FromCalibration, ToCalibration } from './calibration.ts'
import { toWire } from './protocol.ts'

// The lowest. Threads that start later inherit it.
setPriority(19)
process.on('disconnect', () => process.exit(0))

const tell = (message: FromCalibration): void => void process.send?.(message)
const next = async (): Promise<ToCalibration> => (await once(process, 'message'))[0]

const message = await next()
// Before any other library is loaded.
openNative('cpu')
dieWithParent()
if (message.type === 'start') {
  const { file, settings } = message.start
  const turn = async (): Promise<void> => {
    tell({ type: 'turn' })
    await next()
  }
  for (const modality of message.modalities)
    await calibrateEncoder(file, settings, turn, modality)
      .then((choice) => tell({ type: 'chosen', choice, modality }))
      .catch((error: unknown) => tell({ type: 'failed', error: toWire(error) }))
  process.disconnect()
}
