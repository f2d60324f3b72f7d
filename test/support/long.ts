/** The number of inputs for a test that generates them: `few` in `npm test`, `all` with `TEST_LONG`. */
export const inputs = (few: number, all: number): number => (process.env.TEST_LONG ? all : few)
