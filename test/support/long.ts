/** True in `npm test`, false with `TEST_LONG`: a test that waits long, or repeats much, is left to the long run. */
export const shortRun = !process.env.TEST_LONG

/** The inputs of a test that could try many, or their number: `few` in `npm test`, `all` with `TEST_LONG`. */
export const inputs = <T>(few: T, all: T): T => (shortRun ? few : all)
