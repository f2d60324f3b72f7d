/** How often it is told, in ms. */
const intervalMs = 250

let tell = (): void => {}
let last = 0

/** @param told is called now and then while something comes of the file, until the next call */
export function onProgress(told: () => void): void {
  tell = told
}

/** A packet or sample more. */
export function progress(): void {
  const now = performance.now()
  if (now - last < intervalMs) return
  last = now
  tell()
}
