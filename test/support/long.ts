/** The inputs of a test that could try many, or their number: `few` in `npm test`, `all` with `TEST_LONG`. */
export const inputs = <T>(few: T, all: T): T => (process.env.TEST_LONG ? all : few)
