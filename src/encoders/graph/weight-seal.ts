import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  futimesSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { uptime } from 'node:os'

/**
 * The end of a file of weights: the time that the system gives for it, in s; whether it is on the disk; and the start of the
 * machine that wrote it. Whoever changes the file changes its time, too. A power cut may lose what is not on the disk, and
 * leaves the size and the time.
 */
interface Seal {
  readonly time: number
  readonly isOnDisk: boolean
  readonly boot: number
}

export const sealBytes = 24

/** In s since 1970. */
export const now = (): number => Math.floor(Date.now() / 1000)

/** Ends a file that has been written, for as long as the machine runs. */
export function sealNew(descriptor: number): void {
  const time = now()
  writeSync(descriptor, sealed({ time, isOnDisk: false, boot }))
  futimesSync(descriptor, time, time)
}

/** Whether a file is there and as it was written. It is not read for this: it may have gigabytes. @param bytes before the seal */
export function isWhole(file: string, bytes: number): boolean {
  return asks(file, (descriptor) => {
    const seal = sealOf(descriptor, bytes)
    return isAsSealed(descriptor, bytes, seal) && (seal.isOnDisk || isOfThisStart(seal))
  })
}

/** Whether a file was brought to the disk. */
export const isOnDisk = (file: string, bytes: number): boolean =>
  asks(file, (descriptor) => sealOf(descriptor, bytes).isOnDisk)

/** Brings a file to the disk, and seals it for good. What cannot be brought there, or was changed meanwhile, is removed. */
export function bringToDisk(file: string, bytes: number): void {
  let descriptor: number | undefined
  try {
    descriptor = openSync(file, 'r+')
    const seal = sealOf(descriptor, bytes)
    if (seal.isOnDisk) return
    fdatasyncSync(descriptor)
    if (!isAsSealed(descriptor, bytes, seal)) throw new Error('somebody has changed the file')
    writeSync(descriptor, sealed({ ...seal, isOnDisk: true }), 0, sealBytes, bytes)
    futimesSync(descriptor, now(), seal.time)
  } catch {
    // A folder that is read-only has no file that was just written.
    if (descriptor !== undefined) rmSync(file, { force: true })
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

/** Asks a file that may not be there, or not be read. */
function asks(file: string, question: (descriptor: number) => boolean): boolean {
  try {
    const descriptor = openSync(file, 'r')
    try {
      return question(descriptor)
    } finally {
      closeSync(descriptor)
    }
  } catch {
    return false
  }
}

/** A number for this start of the machine; 0 where the system has none. */
const boot = ((): number => {
  try {
    return Number.parseInt(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8), 16)
  } catch {
    return 0
  }
})()

/** Without a number of starts the times tell, if the clock was not set. */
const isOfThisStart = (seal: Seal): boolean => (boot === 0 ? seal.time > now() - uptime() : seal.boot === boot)

function isAsSealed(descriptor: number, bytes: number, { time }: Seal): boolean {
  const { size, mtimeMs } = fstatSync(descriptor)
  return size === bytes + sealBytes && mtimeMs === time * 1000
}

function sealOf(descriptor: number, bytes: number): Seal {
  const seal = new Float64Array(3)
  readSync(descriptor, seal, 0, sealBytes, bytes)
  const [time = 0, isOnDisk = 0, boot = 0] = seal
  return { time, isOnDisk: isOnDisk === 1, boot }
}

const sealed = ({ time, isOnDisk, boot }: Seal): Float64Array => Float64Array.of(time, isOnDisk ? 1 : 0, boot)
