import { expect, it } from 'vitest'
import { missingEncoder } from './corpus.ts'
import { fuzz } from './fuzz.ts'

const missing = missingEncoder()

it.skipIf(missing !== undefined)(
  `2,000 damaged files: no crash, no hang, no growth (skipped where ${missing} is not installed)`,
  { timeout: 300_000 },
  async () => {
    const report = await fuzz(2000, 1, 3)
    console.log(report)
    expect(report.faults).toEqual([])
    expect(report.pictures).toBeGreaterThan(100)
    expect(report.residentAfter).toBeLessThan(report.residentBefore * 1.5 + 100)
  },
)
