import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { headerOf } from '../../src/gguf/index.ts'
import { catalogue } from '../../src/models/index.ts'
import { families } from '../encoders/oracle/families.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { inputs } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { smallDecoders, writeSmallDecoder } from '../support/small-decoders.ts'

/** The first entry that sees of each family with each architecture of a decoder that it comes with. */
const kinds = catalogue.filter(
  ({ family, architecture, inputs: taken }, at) =>
    taken.includes('image') &&
    catalogue.findIndex((other) => other.family === family && other.architecture === architecture) === at,
)

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-catalogue-'))
const scratch = mkdtempSync(path.join(tmpdir(), 'oriel-samples-'))
let server: TestServer
beforeAll(async () => {
  const samples = await writeSamples()
  for (const { id, family, architecture } of kinds) {
    const ofFamily = samples.filter(({ type }) => type === family)
    const [sample] = [...ofFamily.filter((other) => other.architecture === architecture), ...ofFamily]
    if (sample === undefined) throw new Error(`there is no small model of the family ${family}`)
    mkdirSync(path.join(folder, id))
    const file = path.join(folder, id, `${id}.gguf`)
    if (sample.architecture === architecture) copyFileSync(sample.file, file)
    else writeSmallDecoder(file, architecture, { width: sample.width })
    copyFileSync(sample.vision, path.join(folder, id, 'mmproj.gguf'))
  }
  server = await startServer({ models: { dirs: [folder] } })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
  rmSync(scratch, { recursive: true })
})

/** The small models whose encoders are compared with libmtmd's. */
const writeSamples = () =>
  Promise.all(
    families.map(async ({ name, write }) => {
      const [file, vision] = [path.join(scratch, `${name}.gguf`), path.join(scratch, `mmproj-${name}.gguf`)]
      write(file, vision)
      const said = async (of: string, key: string) => (await headerOf(of)).metadata.get(key)
      const architecture = await said(file, 'general.architecture')
      const width = Number(await said(file, `${architecture}.embedding_length`))
      return { file, vision, type: await said(vision, 'clip.projector_type'), architecture, width }
    }),
  )

// Some of the others answer in test/encoders/families.test.ts.
const written = kinds.filter(({ architecture }) => smallDecoders.includes(architecture))
it.each(inputs(written, kinds))('$family and $architecture, as $id has them, load and answer', async ({ id }) => {
  const url = dataUrl(await shape('red', 'circle', 64))
  const content = [
    { type: 'image_url', image_url: { url, detail: 'low' } },
    { type: 'text', text: 'What is it?' },
  ]
  const body = { model: id, messages: [{ role: 'user', content }], max_tokens: 3, ignore_eos: true }
  const response = await postJson(`${server.url}/v1/chat/completions`, body)
  const answer = await response.json()
  expect({ status: response.status, answer }).toMatchObject({
    status: 200,
    answer: { usage: { completion_tokens: 3, prompt_tokens_details: { images: [expect.any(Number)] } } },
  })
})
