import { qwen2vl, qwen3vl, qwen25o, qwen25vl } from './families/qwen.ts'
import type { Family } from './families.ts'

/** The families whose encoders join two frames of a video, with fixtures of their own. */
export const watching: readonly Family[] = [qwen2vl, qwen25vl, qwen25o, qwen3vl].map((family) => ({
  ...family,
  name: `${family.name}-frames`,
}))

export const frameSizes = [
  [64, 64],
  [100, 37],
  [200, 150],
] as const
