export { train } from './train.ts'
export type { ExampleCounts } from './training.ts'
