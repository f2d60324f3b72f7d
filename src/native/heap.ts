import koffi from 'koffi'

/**
 * Gives memory that nobody uses any more back to the system. Loading a model takes far more than having it, the garbage
 * collector sees no hurry, and glibc keeps what was freed for itself.
 */
export function giveBackMemory(): void {
  globalThis.gc?.()
  if (process.platform !== 'linux') return
  try {
    koffi.load('libc.so.6').func('int malloc_trim(size_t)')(0)
  } catch {
    // Another C library, which has its own ways.
  }
}
