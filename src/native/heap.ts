import koffi from 'koffi'

/** Bytes that were counted since the last collection, and so many as are worth one. */
let outlived = 0
const worthCollecting = 32e6

let trim: (() => void) | undefined

/**
 * Gives memory that nobody uses any more back to the system. Loading a model takes far more than having it, the garbage
 * collector sees no hurry, and glibc keeps what was freed for itself.
 */
export function giveBackMemory(): void {
  outlived = 0
  globalThis.gc?.()
  trim ??= mallocTrim()
  trim()
}

/** Told of large buffers that nobody needs any more: when they are many bytes, they are given back. */
export function countOutlived(bytes: number): void {
  outlived += bytes
  if (outlived >= worthCollecting) giveBackMemory()
}

function mallocTrim(): () => void {
  if (process.platform === 'linux')
    try {
      const malloc = koffi.load('libc.so.6').func('int malloc_trim(size_t)')
      return () => malloc(0)
    } catch {
      // Another C library, which has its own ways.
    }
  return () => {}
}
