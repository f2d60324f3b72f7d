import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'

/**
 * llama.cpp and ggml write thousands of lines to the file descriptor of standard error. They would hide the results, so
 * in a test's process that descriptor leads nowhere. Vitest collects what tests print with console, which still shows.
 * ORIEL_TEST_LOG=1 keeps the log, for instance to read the assertion that ends a process.
 */
const standardError = 2
if (process.platform !== 'win32' && process.env.ORIEL_TEST_LOG !== '1') {
  closeSync(standardError)
  // The new descriptor is the lowest one that is free.
  openSync(devNull, 'w')
}
