import { expect, it } from 'vitest'
import { shortRun } from '../support/long.ts'
import { missingEncoder } from './corpus.ts'
import { fuzz } from './fuzz.ts'

const missing = missingEncoder()
const skipNote = missing === undefined ? '' : ` (skipped: ${missing} is not installed)`

it.skipIf(missing !== undefined || shortRun)(
  `damaged files cause no crash, no hang and no memory growth${skipNote}`,
  { timeout: 900_000 },
  async () => {
    const report = await fuzz(2000, 1, 3)
    expect(report.faults).toEqual([])
    expect(report.decoded).toBeGreaterThan(report.files / 20)
    expect(report.residentAfter).toBeLessThan(report.residentBefore * 1.5 + 100)
  },
)
