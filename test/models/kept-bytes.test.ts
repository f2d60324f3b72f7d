import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { headerOf } from '../../src/gguf/index.ts'
import { decoderFacts } from '../../src/models/fit.ts'
import { keptBytes } from '../../src/models/kept-bytes.ts'
import { gemma3n } from '../encoders/oracle/families/gemma3n.ts'
import { gemma4E2b, writeSharingGemma4 } from '../encoders/oracle/families/gemma4.ts'
import { lfm2 } from '../encoders/oracle/families/lfm2.ts'
import { qwen35 } from '../encoders/oracle/families/qwen35.ts'
import { openSmall } from '../support/decoder.ts'
import { writeSmallDecoder } from '../support/small-decoders.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-kept-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What llama.cpp writes before and between the rows of a state, and of each token that is in it. */
const marks = 100

/** What the header of a file tells, and the bytes of a sequence's states and of one more token. */
async function measured(file: string) {
  const header = await headerOf(file)
  const decoder = openSmall(file)
  const sizes: number[] = []
  for (const time of [0, 1]) {
    const batch = decoder.newTokenBatch()
    batch.addToken(1, time, 0, true)
    await decoder.decode(batch)
    sizes.push(decoder.save(0).length)
  }
  const { length: state } = await decoder.saveState(0)
  decoder.close()
  const [one = 0, two = 0] = sizes
  const told = keptBytes(header, decoderFacts(header, path.basename(file)))
  return { ...told, state, more: two - one }
}

describe('the bytes that a decoder keeps', () => {
  it.each([lfm2, qwen35])('of a sequence are those of its state, in $name', async ({ name, write }) => {
    const file = path.join(folder, `${name}.gguf`)
    write(file, path.join(folder, 'mmproj.gguf'))
    const { bytesPerToken, bytesPerSequence, state, more } = await measured(file)
    // Keys and values of two heads of 16 numbers, in the one of two layers that has them.
    expect(bytesPerToken).toBe(2 * 2 * 16 * 2)
    expect(state).toBeGreaterThanOrEqual(bytesPerSequence)
    expect(state).toBeLessThan(bytesPerSequence + marks)
    expect(more).toBeLessThan(bytesPerToken + marks)
  })

  const sharing = { name: 'a Gemma 4 with two sizes of heads, whose last layer has no keys', write: writeSharingGemma4 }
  const latent = { name: 'Kimi-VL', write: (file: string) => writeSmallDecoder(file, 'deepseek2') }
  it.each([gemma4E2b, sharing, gemma3n, latent])(
    'of a token are its keys and values, in $name',
    async ({ name, write }) => {
      const file = path.join(folder, `${name}.gguf`)
      write(file, path.join(folder, 'mmproj.gguf'))
      const { bytesPerToken, bytesPerSequence, more } = await measured(file)
      expect(bytesPerSequence).toBe(0)
      expect(more).toBeGreaterThanOrEqual(bytesPerToken)
      expect(more).toBeLessThan(bytesPerToken + marks)
    },
  )
})
