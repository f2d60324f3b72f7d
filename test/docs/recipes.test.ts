import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { platform, tmpdir } from 'node:os'
import path from 'node:path'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { entryOf } from '../../src/models/index.ts'
import { run } from '../support/cli.ts'
import { inputs } from '../support/long.ts'
import { type Recorded, startRecorder } from '../support/recorder.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { memoryOf, sizedModels } from './model-memory.ts'
import { root, textOf } from './pages.ts'

const recipes = z
  .array(
    z.strictObject({
      id: z.string(),
      title: z.string(),
      summary: z.string(),
      /** Files of `examples/`. */
      images: z.array(z.string()).min(1),
      /** Whether each image is asked about by itself. */
      each: z.boolean(),
      system: z.string().nullable(),
      question: z.string(),
      detail: z.enum(['low', 'auto', 'high']),
      sampling: z.strictObject({ temperature: z.number(), max_tokens: z.int().optional() }),
      schema: z.record(z.string(), z.unknown()).nullable(),
      /** Of the catalogue, from the smallest. */
      models: z.array(z.enum(sizedModels)).min(1),
    }),
  )
  .parse(JSON.parse(textOf('examples/recipes.json')))
type Recipe = (typeof recipes)[number]

const pageOf = ({ id }: Recipe): string => textOf(`docs/recipes/${id}.md`)
const blocksOf = (page: string) =>
  [...page.matchAll(/^```(bash|js)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({ language, code }))
/** Files that a page asks to save: a schema, a policy. */
const savedBy = (page: string) =>
  [...page.matchAll(/Saved as `([\w.-]+)`:\n\n```\w+\n([\s\S]*?)^```$/gm)].map(([, name = '', content = '']) => ({
    name,
    content,
  }))
/** Rows of a table of models. */
const modelsOf = (page: string) =>
  [...page.matchAll(/^\| `([\w.-]+)` +\| ([\d.]+) GB +\|/gm)].map(([, id = '', memory = '']) => [id, Number(memory)])
const memoryRow = (id: (typeof sizedModels)[number]) => [id, Number(memoryOf(id).toFixed(1))]

describe('docs/recipes', () => {
  it('has a page for each recipe, and an index of them', async () => {
    const files = await readdir(path.join(root, 'docs/recipes'))
    expect(files.sort()).toEqual(['README.md', ...recipes.map(({ id }) => `${id}.md`)].sort())
    const rows = textOf('docs/recipes/README.md').matchAll(/^\| \[(.+)\]\((.+)\.md\) +\| (.+?) +\|$/gm)
    expect([...rows].map((row) => row.slice(1))).toEqual(recipes.map(({ title, id, summary }) => [title, id, summary]))
  })

  it('says what each model takes, as `oriel show` computes it', () => {
    expect(modelsOf(textOf('docs/recipes/README.md'))).toEqual(sizedModels.map(memoryRow))
    for (const id of sizedModels) expect(entryOf(id)?.id).toBe(id)
  })

  it.each(recipes)('$id: the page has the title, the models and the schema of the recipe', (recipe) => {
    const page = pageOf(recipe)
    expect(page.startsWith(`# ${recipe.title}\n\n${recipe.summary}\n`)).toBe(true)
    expect(modelsOf(page)).toEqual(recipe.models.map(memoryRow))
    const schema = savedBy(page).find(({ name }) => name.endsWith('.json'))
    expect(schema === undefined ? null : JSON.parse(schema.content)).toEqual(recipe.schema)
  })

  it.each(recipes)('$id: the smallest model comes first', ({ models }) => {
    expect(models).toEqual(models.toSorted((a, b) => memoryOf(a) - memoryOf(b)))
  })
})

/** The built-in model under the names of the models that the recipes name: it follows the schemas, and understands little. */
describe.skipIf(platform() === 'win32')('the examples of docs/recipes', () => {
  let folder: string
  let server: TestServer
  let recorder: Awaited<ReturnType<typeof startRecorder>>
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-recipes-'))
    for (const model of sizedModels) {
      await mkdir(path.join(folder, 'models', model), { recursive: true })
      for (const file of ['pocket.gguf', 'mmproj-pocket.gguf'])
        await symlink(path.join(root, 'models/pocket', file), path.join(folder, 'models', model, file))
    }
    for (const name of ['examples', 'node_modules']) await symlink(path.join(root, name), path.join(folder, name))
    server = await startServer({ models: { dirs: [path.join(folder, 'models')] } })
    recorder = await startRecorder(server.url)
  })
  afterAll(async () => {
    recorder?.close()
    await server?.close()
    await rm(folder, { recursive: true })
  })

  const examples = recipes.flatMap((recipe) => blocksOf(pageOf(recipe)).map((block) => ({ ...block, recipe })))
  /** Of every other recipe one: a command of the first, a curl of the third, a program of the fifth, and so on. */
  const some = examples.filter(({ recipe }, at) => {
    const number = recipes.indexOf(recipe)
    return number % 2 === 0 && at % 3 === (number / 2) % 3
  })

  it('are a command, a curl and a program for each recipe', () => {
    for (const recipe of recipes)
      expect(blocksOf(pageOf(recipe)).map(({ code }) => /oriel ask|curl|openai/.exec(code)?.[0])).toEqual([
        'oriel ask',
        'curl',
        'openai',
      ])
  })

  it.each(inputs(some, examples))(
    '$recipe.id ($language): asks what the recipe says, and is answered',
    async ({ recipe, language, code }) => {
      for (const { name, content } of savedBy(pageOf(recipe))) await writeFile(path.join(folder, name), content)
      const here = code.replaceAll('http://127.0.0.1:8080', `http://127.0.0.1:${recorder.port}`)
      const before = `set -e; curl() { command curl --silent --show-error --fail-with-body "$@"; }
      oriel() { '${process.execPath}' '${root}/bin/oriel.js' "$@"; }\n`
      const [program, args] =
        language === 'bash'
          ? ['bash', ['-c', before + here]]
          : [process.execPath, ['--input-type=module', '--eval', here]]
      const done = await run(program, args, { cwd: folder, env: { ORIEL_PORT: String(recorder.port) } })
      expect(done).toMatchObject({ code: 0, stderr: '' })

      const taken = recorder.taken()
      // Pocket knows no elements of a screen, and the program that prints each of them then prints nothing.
      const isNone = language === 'js' && taken.every(({ text }) => /^\{\s*"elements":\s*\[\s*\]\s*\}$/.test(text))
      expect(done.stdout.trim() === '').toBe(isNone)
      const asked = taken.map(({ request }) => questionIn(request))
      const whole = await expectedOf(recipe, code)
      if (recipe.each && code.startsWith('curl')) expect(whole).toContainEqual(asked[0])
      else
        expect(new Set(asked.map((one) => JSON.stringify(one)))).toEqual(
          new Set(whole.map((one) => JSON.stringify(one))),
        )
      for (const answer of taken) check(answer, recipe)
    },
  )
})

/** What a request asks, in the words of recipes. */
const questionIn = ({ messages, temperature, max_tokens, response_format }: Recorded['request']) => {
  const partsOf = (of: string) =>
    messages
      .filter(({ role }) => role === of)
      .flatMap(({ content }) => (typeof content === 'string' ? [{ text: content }] : content))
  return {
    system: partsOf('system')[0]?.text ?? null,
    // The images come first.
    question: partsOf('user').at(-1)?.text,
    images: partsOf('user').slice(0, -1).map(imageIn),
    sampling: { temperature, max_tokens },
    schema: response_format?.json_schema.schema ?? null,
  }
}

const imageIn = ({ image_url }: { image_url?: { url: string; detail?: string } }) => ({
  bytes: image_url?.url.replace(/^data:[\w/]*;base64,/, ''),
  detail: image_url?.detail ?? 'auto',
})

/** A command has no `max_tokens`. */
const expectedOf = async (recipe: Recipe, code: string) => {
  const { system, question, detail, sampling, schema, each } = recipe
  const images = await Promise.all(
    recipe.images.map(async (name) => ({
      bytes: await readFile(path.join(root, 'examples', name), 'base64'),
      detail,
    })),
  )
  const { temperature, max_tokens } = sampling
  const limit = code.startsWith('oriel') ? undefined : max_tokens
  return (each ? images.map((image) => [image]) : [images]).map((images) => ({
    ...{ system, question, images },
    ...{ sampling: { temperature, max_tokens: limit }, schema },
  }))
}

const ajv = addFormats.default(new Ajv({ strict: false, multipleOfPrecision: 6 }))

function check({ request, text, reason }: Recorded, { schema, models }: Recipe): void {
  expect(models).toContain(request.model)
  expect(text.trim()).not.toBe('')
  if (schema === null) return
  expect(reason).toBe('stop')
  expect(ajv.validate(schema, JSON.parse(text)), ajv.errorsText()).toBe(true)
}
