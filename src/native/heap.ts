import koffi from 'koffi'

/** Bytes that were counted since the last collection, and how many trigger the next one. */
let outlived = 0
const worthCollecting = 32e6

let trim: (() => void) | undefined

/**
 * Returns unused memory to the system. Loading a model takes far more memory than holding it, the garbage collector does
 * not run by itself soon, and glibc keeps what was freed.
 */
export function giveBackMemory(): void {
  outlived = 0
  globalThis.gc?.()
  trim ??= mallocTrim()
  trim()
}

/** Counts the bytes of large buffers that are garbage now, and returns the memory when they are many. */
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
      // Another C library.
    }
  return () => {}
}
