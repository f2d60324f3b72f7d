import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { audioFamilies, audioRate, imageFamilies } from '../../src/encoders/index.ts'
import { headerOf } from '../../src/gguf/index.ts'
import { projectorFacts } from '../../src/models/fit.ts'
import { catalogue } from '../../src/models/index.ts'
import { gemma4Hearing } from '../encoders/oracle/families/gemma4a.ts'
import { qwen3Omni } from '../encoders/oracle/families/qwen3a.ts'
import { families } from '../encoders/oracle/families.ts'
import { hearing } from '../encoders/oracle/hearing.ts'
import { wave } from '../media/recordings.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { inputs } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { smallDecoders, writeSmallDecoder } from '../support/small-decoders.ts'

/** The first entry with each pair of families, and each architecture of a decoder that they come with. */
const kinds = catalogue.filter(
  ({ sees, hears, architecture }, at) =>
    catalogue.findIndex(
      (other) => other.sees === sees && other.hears === hears && other.architecture === architecture,
    ) === at,
)

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-catalogue-'))
const scratch = mkdtempSync(path.join(tmpdir(), 'oriel-samples-'))
let server: TestServer
beforeAll(async () => {
  const samples = await writeSamples()
  for (const { id, sees, hears, architecture } of kinds) {
    const ofFamily = samples.filter((other) => other.sees === sees && other.hears === hears)
    const [sample] = [...ofFamily.filter((other) => other.architecture === architecture), ...ofFamily]
    if (sample === undefined) throw new Error(`there is no small model with the encoders of ${id}`)
    mkdirSync(path.join(folder, id))
    const file = path.join(folder, id, `${id}.gguf`)
    const made = [sample, ...samples].find(
      (other) => other.architecture === architecture && other.width === sample.width,
    )
    if (sample.architecture === architecture) copyFileSync(sample.file, file)
    else if (smallDecoders.includes(architecture)) writeSmallDecoder(file, architecture, { width: sample.width })
    else if (made !== undefined) copyFileSync(made.file, file)
    else throw new Error(`there is no small decoder of the architecture ${architecture}`)
    copyFileSync(sample.encoders, path.join(folder, id, 'mmproj.gguf'))
  }
  server = await startServer({ models: { dirs: [folder] } })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
  rmSync(scratch, { recursive: true })
})

/** The small models whose encoders are compared with libmtmd's, and those with two encoders of different families. */
const writeSamples = () =>
  Promise.all(
    [...families, ...hearing, qwen3Omni, gemma4Hearing].map(async ({ name, write }) => {
      const [file, encoders] = [path.join(scratch, `${name}.gguf`), path.join(scratch, `mmproj-${name}.gguf`)]
      write(file, encoders)
      const { metadata } = await headerOf(file)
      const facts = projectorFacts(await headerOf(encoders), name, { images: imageFamilies, audio: audioFamilies })
      const architecture = metadata.get('general.architecture')
      const width = Number(metadata.get(`${architecture}.embedding_length`))
      const [sees, hears] = [facts.vision?.family ?? null, facts.audio?.family ?? null]
      return { file, encoders, sees, hears, architecture, width }
    }),
  )

async function ask(model: string, part: object) {
  const content = [part, { type: 'text', text: 'What is it?' }]
  const body = { model, messages: [{ role: 'user', content }], max_tokens: 3, ignore_eos: true }
  const response = await postJson(`${server.url}/v1/chat/completions`, body)
  return { status: response.status, answer: JSON.parse(await response.text()) }
}

// Some of the others answer in test/encoders/families.test.ts.
const seeing = kinds.filter(({ sees }) => sees !== null)
const written = seeing.filter(({ architecture }) => smallDecoders.includes(architecture))
it.each(inputs(written, seeing))('$sees and $architecture, as $id has them, load and answer', async ({ id }) => {
  const url = dataUrl(await shape('red', 'circle', 64))
  expect(await ask(id, { type: 'image_url', image_url: { url, detail: 'low' } })).toMatchObject({
    status: 200,
    answer: { usage: { completion_tokens: 3, prompt_tokens_details: { images: [expect.any(Number)] } } },
  })
})

const audio = {
  type: 'input_audio',
  input_audio: { data: wave(audioRate, 1).toString('base64'), format: 'wav' },
}
const listening = kinds.filter(({ hears }) => hears !== null)
it.each(inputs(listening.slice(0, 2), listening))(
  '$hears and $architecture, as $id has them, load and answer',
  async ({ id }) => {
    const { status, answer } = await ask(id, audio)
    expect({ status, answer }).toMatchObject({ status: 200, answer: { usage: { completion_tokens: 3 } } })
    expect(answer.usage.prompt_tokens_details.audio_tokens).toBeGreaterThan(5)
  },
)

it('the error of a model that takes no audio names the models here that do', async () => {
  const deaf = kinds.find(({ hears }) => hears === null)?.id ?? ''
  const { status, answer } = await ask(deaf, audio)
  expect({ status, code: answer.error?.code }).toEqual({ status: 400, code: 'audio_not_supported' })
  expect(listening.filter(({ id }) => answer.error.message.includes(id)).length).toBeGreaterThan(3)
})
