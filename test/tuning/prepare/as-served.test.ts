import { mkdir, rm, symlink } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { configSchema } from '../../../src/config.ts'
import type { Reader } from '../../../src/deployments/index.ts'
import { audioFamilies, imageFamilies } from '../../../src/encoders/index.ts'
import { type Engine, type PromptPiece, startEngine } from '../../../src/engine/index.ts'
import { createLogger } from '../../../src/log.ts'
import { createLibrary } from '../../../src/models/index.ts'
import { openReader, prepare } from '../../../src/tuning/prepare/index.ts'
import { train } from '../../../src/tuning/trainer/index.ts'
import { openSubject } from '../../encoders/oracle/compare.ts'
import { idefics3 } from '../../encoders/oracle/families/idefics3.ts'
import { qwen3vl, qwen25vl } from '../../encoders/oracle/families/qwen.ts'
import { shape } from '../../support/images.ts'
import { assistant, jobFolder, user } from '../../support/job-folder.ts'
import { inputs, shortRun } from '../../support/long.ts'
import { answerOf, engineSettings, pocketFolder, requestOf } from '../../support/pocket.ts'

const chatTemplate = `{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`
/** The last is how much the losses may differ: the server multiplies in 16 bits where the weights have them. */
const models = [
  [
    'pocket',
    () => ({ decoder: `${pocketFolder}pocket.gguf`, projector: `${pocketFolder}mmproj-pocket.gguf` }),
    null,
    1e-3,
  ],
  ['qwen2.5-vl', () => openSubject(qwen25vl), chatTemplate, 5e-5],
  ['qwen3-vl', () => openSubject(qwen3vl), chatTemplate, 5e-5],
] as const

/** Whose files are made for conformance. */
const idefics = ['smolvlm', () => openSubject(idefics3), chatTemplate, 5e-5] as const

const done: (() => unknown)[] = []
afterEach(async () => {
  for (const one of done.splice(0).reverse()) await one()
})

/** A question about a picture, laid out for an engine. */
async function asked(reader: Reader, picture: Buffer): Promise<PromptPiece[]> {
  const { signal } = new AbortController()
  const images = await reader.load([{ kind: 'image', bytes: picture, param: '', detail: 'auto' }], signal)
  const content = [
    { kind: 'text', text: 'See: ' },
    { kind: 'image', attachment: 0 },
    { kind: 'text', text: 'What is this?' },
  ] as const
  const messages = [
    { role: 'user', content },
    { role: 'assistant', content: [{ kind: 'text', text: 'A red circle.' }] },
  ] as const
  return (await reader.layOut(messages, { isOver: true })).flatMap((part): readonly PromptPiece[] =>
    part.kind === 'image' ? (images[part.attachment] ?? []) : part.kind === 'text' ? [part] : [],
  )
}

/** The mean of the negative logarithms of the learned tokens' probabilities, as the engine has them. */
async function meanOf(engine: Engine, pieces: PromptPiece[], learned: Uint8Array, adapter?: string): Promise<number> {
  const request = { promptLogprobs: true, maxTokens: 1, topLogprobs: 0 }
  const { events } = await answerOf(
    engine,
    requestOf(pieces, adapter === undefined ? request : { ...request, adapter: { id: adapter, scale: 1 } }),
  )
  const own = events.flatMap((event) =>
    event.type === 'prompt_logprobs'
      ? event.tokens.flatMap((one, at) => (learned[event.from + at] === 1 && one !== null ? [-one.logprob] : []))
      : [],
  )
  expect(own.length).toBe(learned.reduce((sum, one) => sum + one, 0))
  return own.reduce((sum, one) => sum + one, 0) / own.length
}

describe('what the trainer computes of an example', () => {
  it.skipIf(shortRun).each(models)(
    'of %s is what the server computes of the same chat',
    async (id, open, template, most) => {
      const files = open()
      if ('remove' in files) done.push(() => files.remove())
      const { decoder, projector } = files
      const picture = await shape('red')
      const base = { id, decoder, projector }
      const chat = [user('See: ', picture, 'What is this?'), assistant('A red circle.')]
      const { folder, config } = await jobFolder([chat], { base, chatTemplate: template, memoryBytes: 4e9 })
      done.push(() => rm(folder, { recursive: true }))
      const { signal } = new AbortController()
      const log = createLogger('silent')
      const job = { folder, config, open: () => openReader(config, log, signal), onShare: () => {}, signal }
      const { sequences, counts } = await prepare(job)
      const { learned, positions, tokens } = sequences.read(0)
      expect(positions.length / tokens.length).toBe(id === 'pocket' ? 1 : 4)
      let loss = Number.NaN
      const onLine = (line: { type: string; loss?: number }) => {
        if (line.type === 'step') loss = line.loss ?? Number.NaN
      }
      await train({ decoder, sequences, evaluation: null, counts, config, folder, onLine, signal })

      const reader = await job.open()
      done.push(() => reader.close())
      const pieces = await asked(reader, picture)
      const engine = await startEngine({ name: id, decoder, projector, settings: engineSettings, log })
      done.push(() => engine.close())
      const mean = await meanOf(engine, pieces, learned)
      expect(Math.abs(loss - mean) / mean).toBeLessThan(most)
    },
  )

  it.skipIf(shortRun).each(inputs([models[0]], [...models, idefics]))(
    'of %s with a projector that it has trained is what the server computes with the adapter',
    async (id, open, template) => {
      const files = open()
      if ('remove' in files) done.push(() => files.remove())
      const { decoder, projector } = files
      const base = { id, decoder, projector }
      const picture = await shape('red')
      const chat = [user('See: ', picture, 'What is this?'), assistant('A red circle.')]
      const { folder, config } = await jobFolder([chat], {
        ...{
          base,
          chatTemplate: template,
          evaluation: [chat],
          epochs: 6,
          learningRate: 1e-2,
          trainProjector: true,
          memoryBytes: 4e9,
        },
      })
      done.push(() => rm(folder, { recursive: true }))
      const { signal } = new AbortController()
      const log = createLogger('silent')
      const job = { folder, config, open: () => openReader(config, log, signal), onShare: () => {}, signal }
      const { sequences, evaluation, counts } = await prepare(job)
      const losses: number[] = []
      const onLine = (line: { type: string; loss?: number }) => {
        if (line.type === 'evaluation') losses.push(line.loss ?? Number.NaN)
      }
      await train({ decoder, sequences, evaluation, counts, config, folder, onLine, signal })
      const own = path.join(folder, 'models')
      await mkdir(path.join(own, id), { recursive: true })
      await symlink(decoder, path.join(own, id, `${id}.gguf`))
      await symlink(projector, path.join(own, id, `mmproj-${id}.gguf`))
      const library = createLibrary(
        { ...configSchema.parse({}).models, dirs: [own] },
        { images: imageFamilies, audio: audioFamilies },
      )
      await library.adopt(path.join(folder, 'output'), { account: 'local', model: 'seeing', base: id })
      const card = await library.adapter('seeing')
      if (card === undefined) throw new Error('the adapter is not in the library')

      const reader = await job.open()
      done.push(() => reader.close())
      const engine = await startEngine({ name: id, decoder, projector, settings: engineSettings, log })
      done.push(() => engine.close())
      await engine.loadAdapter(card)
      const { learned } = sequences.read(0)
      const before = await meanOf(engine, await asked(reader, picture), learned)
      const after = await meanOf(engine, await asked(reader, picture), learned, card.id)
      const best = Math.min(...losses)
      expect(best).toBeLessThan(before * 0.8)
      expect(Math.abs(after - best) / best).toBeLessThan(0.02)
    },
  )
})
