import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  type Ask,
  type Attachment,
  type Backend,
  Collected,
  type ContentPart,
  embeddedBackend,
  plainSettings,
} from '../../src/deployments/index.ts'
import { audioFamilies, imageFamilies } from '../../src/encoders/index.ts'
import { type EngineSettings, startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import type { Loaded } from '../../src/media/index.ts'
import { readCard } from '../../src/models/card.ts'
import type { Family } from '../encoders/oracle/families.ts'
import { engineSettings } from './pocket.ts'
import { mediaWith } from './videos.ts'

export const text = (words: string): ContentPart => ({ kind: 'text', text: words })
/** The attachment of a message by its index. */
export const part = (kind: Attachment['kind'], attachment = 0): ContentPart => ({ kind, attachment })
/** An attachment whose URL names a file of the model. */
export const source = (
  kind: Attachment['kind'],
  url: string,
  more: Partial<Omit<Attachment, 'url' | 'bytes' | 'loaded'>> = {},
): Attachment => ({
  ...{ kind, url, param: url, detail: 'auto' },
  ...more,
})

/** A small random model in an engine of its own, which is asked as the API asks it. */
export async function startModel({ name, write }: Family, settings: Partial<EngineSettings> = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-watching-'))
  /** Made for each request, by URL. */
  const files: Record<string, () => Loaded> = {}
  const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  write(decoder, projector)
  const families = { images: imageFamilies, audio: audioFamilies }
  const card = await readCard({ id: name, aliases: [], decoder, projector }, families)
  const all = { ...engineSettings, contextCells: 8192, ...settings }
  const engine = await startEngine({ decoder, projector, name, settings: all, log: createLogger('silent') })
  const backend: Backend = embeddedBackend({ card, engine, media: mediaWith(files) })
  const askOf = (content: readonly ContentPart[], attachments: readonly Attachment[], maxTokens = 4): Ask => ({
    prompt: {
      ...{ kind: 'chat', messages: [{ role: 'user', content }], tools: [], variables: {}, splitReasoning: false },
      ...{ calling: { mode: 'auto', parallel: true }, continues: false, longest: null },
    },
    attachments,
    settings: { ...plainSettings, maxTokens, ignoreEos: true, sampling: { temperature: 0 }, echo: 'all' },
    client: 'one',
  })
  return {
    ...{ backend, engine, files, askOf },
    async answer(content: readonly ContentPart[], attachments: readonly Attachment[], maxTokens?: number) {
      const asked = await backend.answer(askOf(content, attachments, maxTokens), new AbortController().signal)
      const collected = new Collected(1)
      for await (const event of asked.events) collected.take(event)
      const { tally } = collected
      if (tally === undefined) throw new Error('an answer without an end')
      const { images = [], videos = [], audio = [] } = tally
      return { usage: asked.usage, prompt: asked.prompt?.text ?? '', tally, images, videos, audio }
    },
    async close() {
      await backend.close()
      rmSync(folder, { recursive: true })
    },
  }
}
