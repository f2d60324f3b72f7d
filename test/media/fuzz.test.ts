import { expect, it } from 'vitest'
import { missingEncoder } from './corpus.ts'
import { fuzz } from './fuzz.ts'

const missing = missingEncoder()
const skipNote = missing === undefined ? '' : ` (skipped: ${missing} is not installed)`

it.skipIf(missing !== undefined)(
  `2,000 damaged files cause no crash, no hang and no memory growth${skipNote}`,
  { timeout: 300_000 },
  async () => {
    const report = await fuzz(2000, 1, 3)
    console.log(report)
    expect(report.faults).toEqual([])
    expect(report.decoded).toBeGreaterThan(100)
    expect(report.residentAfter).toBeLessThan(report.residentBefore * 1.5 + 100)
  },
)
