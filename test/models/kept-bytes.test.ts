import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { headerOf } from '../../src/gguf/index.ts'
import { decoderFacts } from '../../src/models/fit.ts'
import { keptBytes } from '../../src/models/kept-bytes.ts'
import { lfm2 } from '../encoders/oracle/families/lfm2.ts'
import { qwen35 } from '../encoders/oracle/families/qwen35.ts'
import { openSmall } from '../support/decoder.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-kept-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What llama.cpp writes before and between the rows of a state. */
const marks = 100

describe('the bytes that a decoder keeps', () => {
  it.each([lfm2, qwen35])('of a sequence are those of its state, in $name', async ({ name, write }) => {
    const file = path.join(folder, `${name}.gguf`)
    write(file, path.join(folder, 'mmproj.gguf'))
    const header = await headerOf(file)
    const { bytesPerToken, bytesPerSequence } = keptBytes(header, decoderFacts(header, name))
    // Keys and values of two heads of 16 numbers, in the one of two layers that has them.
    expect(bytesPerToken).toBe(2 * 2 * 16 * 2)
    const decoder = openSmall(file)
    const batch = decoder.newTokenBatch()
    batch.addToken(1, 0, 0, true)
    await decoder.decode(batch)
    const { length } = await decoder.saveState(0)
    decoder.close()
    expect(length).toBeGreaterThanOrEqual(bytesPerSequence)
    expect(length).toBeLessThan(bytesPerSequence + marks)
  })
})
