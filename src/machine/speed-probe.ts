import { measureOperations } from '../encoders/index.ts'

/** The child process of `speed.ts`: sends how many operations a second this processor computes, or null. */
const [, , threads] = process.argv
process.send?.({ operations: await measureOperations(Number(threads)) }, () => process.disconnect())
