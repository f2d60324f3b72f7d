import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { configSchema } from '../../src/config.ts'
import type { ExampleLine, TrainingConfig } from '../../src/tuning/contract.ts'
import { readingOf } from '../../src/tuning/prepare/index.ts'
import { pocketFolder } from './pocket.ts'

type Message = ExampleLine['messages'][number]

export const user = (...content: (string | Buffer)[]) => ({ role: 'user', content }) as const
export const assistant = (text: string, more: Omit<Partial<Message>, 'content' | 'role'> = {}) =>
  ({ role: 'assistant', content: [text], ...more }) as const

/** A message whose images are files. */
export type Said = Omit<Message, 'content'> & { readonly content: readonly (string | Buffer)[] }
export type Chat = Omit<ExampleLine, 'messages'> & { readonly messages: readonly Said[] }

export interface Job {
  readonly folder: string
  readonly config: TrainingConfig
}

/** Makes a job's folder by hand, for the built-in model. */
export async function jobFolder(
  train: readonly (readonly Said[] | Chat)[],
  { evaluation = [], ...config }: Partial<TrainingConfig> & { evaluation?: readonly (readonly Said[] | Chat)[] } = {},
): Promise<Job> {
  const folder = await mkdtemp(path.join(tmpdir(), 'oriel-job-'))
  await mkdir(path.join(folder, 'images'))
  const whole: TrainingConfig = {
    base: { id: 'pocket', decoder: `${pocketFolder}pocket.gguf`, projector: `${pocketFolder}mmproj-pocket.gguf` },
    ...{ warmStart: null, chatTemplate: null, epochs: 1, learningRate: 1e-3, warmupSteps: 0, rank: 8, alpha: 16 },
    ...{ batchExamples: 8, batchTokens: null, maxTokens: 2048, earlyStop: false, trainProjector: false, seed: 1 },
    ...{ memoryBytes: 2e9, threads: 2, reading: readingOf(configSchema.parse({})) },
    ...config,
  }
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(whole))
  await writeLines(folder, 'train.jsonl', train)
  if (evaluation.length > 0) await writeLines(folder, 'eval.jsonl', evaluation)
  return { folder, config: whole }
}

async function writeLines(folder: string, name: string, chats: readonly (readonly Said[] | Chat)[]): Promise<void> {
  const images = new Map<string, Buffer>()
  const partOf = (part: string | Buffer) => {
    if (typeof part === 'string') return { type: 'text', text: part }
    const image = `images/${createHash('sha256').update(part).digest('hex')}.png`
    images.set(image, part)
    return { type: 'image', image }
  }
  const lines = chats.map((chat) => {
    const { messages, ...more } = 'messages' in chat ? chat : { messages: chat }
    const written = messages.map(({ content, ...message }) => ({ ...message, content: content.map(partOf) }))
    return `${JSON.stringify({ ...more, messages: written })}\n`
  })
  await writeFile(path.join(folder, name), lines.join(''))
  await Promise.all([...images].map(([image, bytes]) => writeFile(path.join(folder, image), bytes)))
}
