import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { corpus, make, missingEncoder, prepare } from './corpus.ts'
import { openMedia } from './media.ts'
import { distance } from './sources.ts'

const missing = missingEncoder()

describe.skipIf(missing !== undefined)(`every format and variant (skipped where ${missing} is not installed)`, () => {
  const { loadOne, close } = openMedia()
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-corpus-'))
    await prepare(folder)
  })
  afterAll(async () => {
    await close()
    await rm(folder, { recursive: true })
  })

  it.for(corpus)('$name', async (specimen) => {
    const file = await make(specimen, folder)
    const { pictures, format } = await loadOne(file)
    expect(specimen.name).toContain(format)
    expect(pictures).toHaveLength(1)
    for (const picture of pictures) {
      const { most, mean } = distance(picture, specimen.shows)
      expect(most).toBeLessThanOrEqual(specimen.within.most)
      expect(mean).toBeLessThanOrEqual(specimen.within.mean)
    }
  })
})
