import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { headerOf } from '../../../src/gguf/index.ts'

const channels = 6
const factor = 20
/** Tensors are aligned to this many bytes. */
const alignment = 32

/** Makes some channels of every norm of the layers twenty times as large, as they are in encoders that people use. */
export async function addOutliers(file: string): Promise<void> {
  const { tensors, fileBytes } = await headerOf(file)
  const padded = tensors.map(({ bytes }) => Math.ceil(bytes / alignment) * alignment)
  let at = fileBytes - padded.reduce((sum, bytes) => sum + bytes, 0)
  const descriptor = openSync(file, 'r+')
  for (const [index, { name, type, bytes }] of tensors.entries()) {
    if (/^[va]\.blk\.[\d.]+(ln[12]|norm)\.weight$/.test(name) && type === 'F32') {
      const values = new Float32Array(bytes / 4)
      readSync(descriptor, values, 0, bytes, at)
      for (let channel = 0; channel < channels; channel++) {
        const place = (channel * 127 + 31) % values.length
        values[place] = (values[place] ?? 0) * factor
      }
      writeSync(descriptor, values, 0, bytes, at)
    }
    at += padded[index] ?? 0
  }
  closeSync(descriptor)
}
