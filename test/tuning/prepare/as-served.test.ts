import { rm } from 'node:fs/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { type PromptPiece, startEngine } from '../../../src/engine/index.ts'
import { createLogger } from '../../../src/log.ts'
import { openReader, prepare } from '../../../src/tuning/prepare/index.ts'
import { train } from '../../../src/tuning/trainer/index.ts'
import { openSubject } from '../../encoders/oracle/compare.ts'
import { qwen3vl, qwen25vl } from '../../encoders/oracle/families/qwen.ts'
import { shape } from '../../support/images.ts'
import { assistant, jobFolder, user } from '../../support/job-folder.ts'
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

const done: (() => unknown)[] = []
afterEach(async () => {
  for (const one of done.splice(0).reverse()) await one()
})

describe('what the trainer computes of an example', () => {
  it.each(models)('of %s is what the server computes of the same chat', async (id, open, template, most) => {
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
    const pieces = (await reader.layOut(messages, { isOver: true })).flatMap((part): readonly PromptPiece[] =>
      part.kind === 'image' ? (images[part.attachment] ?? []) : part.kind === 'text' ? [part] : [],
    )
    const engine = await startEngine({ name: id, decoder, projector, settings: engineSettings, log })
    done.push(() => engine.close())
    const { events } = await answerOf(engine, requestOf(pieces, { promptLogprobs: true, maxTokens: 1, topLogprobs: 0 }))
    const told = events.find((event) => event.type === 'prompt_logprobs')
    const chances = told?.type === 'prompt_logprobs' ? told.tokens : []
    const own = chances.flatMap((one, at) => (learned[at] === 1 && one !== null ? [-one.logprob] : []))
    expect(own.length).toBe(counts.learnedTokens)
    const mean = own.reduce((sum, one) => sum + one, 0) / own.length
    expect(Math.abs(loss - mean) / mean).toBeLessThan(most)
  })
})
