import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTensors } from '../../src/encoders/graph/tensor-file.ts'
import {
  audioFamilies,
  needAudioArchitecture,
  openAudioArchitecture,
  openImageArchitecture,
} from '../../src/encoders/index.ts'
import { openNative } from '../../src/native/index.ts'
import { inputs } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'
import { compareSoundEmbeddings, compareSoundForms, compareSoundLayouts, openHearing } from './oracle/compare-sounds.ts'
import { qwen25oHearing } from './oracle/families/whisper.ts'
import { openFiles } from './oracle/files.ts'
import { hearing } from './oracle/hearing.ts'

describe.each(inputs(hearing.slice(0, 3), hearing))('$name, compared with libmtmd', (family) => {
  const subject = openHearing(family)
  afterAll(subject.remove)

  it('lays out prompts like libmtmd: text and embeddings', async () => {
    for (const { samples, ours, theirs } of await compareSoundLayouts(subject))
      expect(ours, `${samples}`).toEqual(theirs)
  })

  it.each(['onnx', 'ggml'] as const)('computes the same embeddings in %s', async (runtime) => {
    // The other runtime computes each length.
    const told = runtime === 'onnx' ? subject.told : subject.told.slice(1, 3)
    const { cosine, difference } = await compareSoundEmbeddings(subject, runtime, told)
    // libmtmd convolves in 16-bit floats, 11 bits of which are significant; embeddings are 1 to 3 large.
    expect(difference).toBeLessThan(0.02)
    expect(cosine).toBeGreaterThan(0.99999)
  })
})

const inForms = hearing.filter(({ isExact = false }) => !isExact)

describe.each(inputs([], inForms))('$name in the forms that a calibration chooses', (family) => {
  const subject = openHearing(family)
  afterAll(subject.remove)

  it('computes nearly the same embeddings', async () => {
    expect((await compareSoundForms(subject)).chosen).toBeLessThan(0.025)
  })

  it('does so too if some channels are much larger than the others', async () => {
    const { chosen, int8, calibrated } = await compareSoundForms(subject, true)
    expect(chosen).toBeLessThan(0.08)
    // Nothing is to be gained where one term is exact enough, as in Gemma 4's ears.
    expect(chosen).toBeLessThan(Math.max(int8, calibrated.aim))
  })
})

describe('every family', () => {
  const subjects = new Map<(typeof hearing)[number], ReturnType<typeof openHearing>>()
  beforeAll(() => {
    for (const family of hearing) subjects.set(family, openHearing(family))
  })
  afterAll(() => {
    for (const { remove } of subjects.values()) remove()
  })

  it('has files of one half that have no architecture of the other', async () => {
    const seen = `${pocketFolder}mmproj-pocket.gguf`
    expect(await openImageArchitecture(seen)).toMatchObject({ name: 'pixtral' })
    expect(await openAudioArchitecture(seen)).toBeNull()
    for (const [family, { projector }] of subjects) {
      expect((await openImageArchitecture(projector))?.name).toBe(family === qwen25oHearing ? 'qwen2.5o' : undefined)
      expect(await openAudioArchitecture(projector)).toMatchObject({ rate: 16000 })
    }
  })

  it('of the registry is covered by docs/conformance.md and these tests', async () => {
    const page = readFileSync(new URL('../../docs/conformance.md', import.meta.url), 'utf8')
    const told = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
    const shown = new Set<string>()
    for (const [family, { projector }] of subjects) {
      const { name } = await needAudioArchitecture(projector)
      const row = told.find(([, type, model]) => type === name && model === family.name)
      expect(row, `run \`npm run conformance\` for ${family.name}`).toBeDefined()
      shown.add(name)
    }
    expect([...shown].sort()).toEqual(audioFamilies.flatMap(({ types }) => types).sort())
  })
})

it('of a file with both halves, an encoder has the weights of its own in memory', () => {
  const { ggml } = openNative()
  const { projector, remove } = openFiles(qwen25oHearing)
  const namesOf = (modality: 'vision' | 'audio') => {
    const tensors = openTensors(ggml, projector, modality)
    tensors.close()
    ggml.free(tensors.context)
    return [...tensors.names]
  }
  const [seen, heard] = [namesOf('vision'), namesOf('audio')]
  expect(seen.filter((name) => heard.includes(name))).toEqual([])
  expect(seen).toContain('mm.0.weight')
  expect(heard).toContain('mm.a.fc.weight')
  remove()
})
