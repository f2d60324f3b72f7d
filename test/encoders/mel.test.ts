import { expect, it } from 'vitest'
import { heardAtOnce } from '../../src/encoders/index.ts'
import { logMel, whisperMel } from '../../src/encoders/preprocess/mel.ts'

const kind = { ...whisperMel, bands: 80 }
/** A tone of 440 Hz. */
const tone = (seconds: number) =>
  Float32Array.from({ length: seconds * kind.rate }, (_, at) => Math.sin((2 * Math.PI * 440 * at) / kind.rate))

it('a long sound is heard in short stretches', () => {
  const hearing = logMel(tone(20), kind)
  let stretches = 0
  while (hearing.next().done !== true) stretches++
  // Of 3 s at most.
  expect(stretches).toBeGreaterThan(6)
})

it('the stretches of a sound are together what it is', () => {
  const whole = heardAtOnce(logMel(tone(6), kind))
  const end = heardAtOnce(logMel(tone(6).subarray(3 * kind.rate), kind))
  const rows = end.values.length / end.width
  expect(whole.values.length / whole.width).toBe(rows + 300)
  const difference = end.values.map((value, at) => Math.abs(value - (whole.values[300 * whole.width + at] ?? 0)))
  expect(Math.max(...difference)).toBeLessThan(1e-3)
})
