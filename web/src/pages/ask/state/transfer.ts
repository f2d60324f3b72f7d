import * as z from 'zod/mini'
import { blobToDataUrl } from '../../../data-url.ts'
import { saveAs } from '../../../save-as.ts'
import { type Conversation, details, filesOf, newId } from './conversation.ts'
import { add, conversations } from './conversations.ts'
import { fileOf, saveFile } from './store.ts'

// The policy of the pages allows no code that is made of text.
z.config({ jitless: true })

const size = z.object({ width: z.number(), height: z.number() })

const seenPage = z.object({
  ...{ page: z.nullable(z.number()), width: z.number(), height: z.number(), seen: size, tokens: z.number() },
  ...{ cached: z.nullable(z.enum(['encoder', 'prefix'])), encode_ms: z.number(), decode_ms: z.number() },
})

const seenRecording = z.object({
  ...{
    taken: z.number(),
    times: z.array(z.number()),
    width: z.number(),
    height: z.number(),
    seconds: z.number(),
    tokens: z.number(),
  },
  ...{ cached: z.boolean(), encode_ms: z.number() },
})

const figures = z.object({
  ...{ promptTokens: z.number(), cachedTokens: z.number(), imageTokens: z.number(), outputTokens: z.number() },
  cost: z.number(),
  phases: z.object({
    ...{ queue: z.number(), media: z.number(), encode: z.number(), prefill: z.number(), generation: z.number() },
  }),
  pictures: z.array(z.array(seenPage)),
  recordings: z.optional(z.array(z.nullable(seenRecording))),
})

const mark = z.object({
  ...{ label: z.nullable(z.string()), x: z.number(), y: z.number(), size: z.optional(size) },
})

const answer = z.object({
  ...{ id: z.string(), model: z.string(), thought: z.string(), text: z.string(), error: z.string(), cut: z.boolean() },
  ...{ withheld: z.optional(z.boolean()), status: z.optional(z.number()) },
  state: z.enum(['waiting', 'streaming', 'done', 'stopped', 'failed']),
  calls: z.array(z.object({ id: z.string(), name: z.string(), arguments: z.string() })),
  figures: z.nullable(figures),
  marks: z.optional(z.array(mark)),
})

const picture = z.object({
  ...{
    id: z.string(),
    name: z.string(),
    type: z.string(),
    bytes: z.number(),
    shrunkFrom: z.number(),
    pages: z.string(),
  },
  ...{ width: z.number(), height: z.number() },
  ...{ seconds: z.optional(z.number()), poster: z.optional(z.string()) },
})

const conversation = z.object({
  ...{ id: z.string(), title: z.string(), changedAt: z.number(), models: z.array(z.string()) },
  settings: z.object({
    ...{ system: z.string(), detail: z.enum(details), schema: z.string(), tools: z.string() },
    parameters: z.record(z.string(), z.string()),
  }),
  turns: z.array(
    z.object({
      ...{ id: z.string(), after: z.string() },
      question: z.object({ text: z.string(), pictures: z.array(picture) }),
      columns: z.array(z.object({ answers: z.array(answer), shown: z.number() })),
    }),
  ),
  picked: z.record(z.string(), z.string()),
})

/** A file of conversations. The files of their pictures are data: URLs, by id. */
const exported = z.object({
  oriel: z.literal('conversations'),
  conversations: z.array(conversation),
  files: z.record(z.string(), z.string()),
})

export const exportOne = (one: Conversation): Promise<void> => exportThese([one], fileName(one.title))

export const exportAll = (): Promise<void> => exportThese(conversations.value, 'conversations')

/** @returns why nothing was imported; empty: it was */
export async function importFile(file: File): Promise<string> {
  const text = await file.text().catch(() => undefined)
  if (text === undefined) return 'This file cannot be read. It may be too large for this browser.'
  const read = exported.safeParse(parsed(text))
  if (!read.success) return 'This is not a file of conversations that this page has exported.'
  for (const [id, url] of Object.entries(read.data.files)) {
    const bytes = blobOf(url)
    if (bytes !== undefined && (await fileOf(id)) === undefined) await saveFile(id, bytes)
  }
  const isHere = (id: string): boolean => conversations.value.some((one) => one.id === id)
  add(read.data.conversations.map((one) => (isHere(one.id) ? { ...one, id: newId() } : one)))
  return ''
}

async function exportThese(these: readonly Conversation[], name: string): Promise<void> {
  // Each is a part of its own: no browser makes one text of many pictures.
  const files: Blob[] = []
  for (const id of new Set(these.flatMap((one) => [...filesOf(one)]))) {
    const file = await fileOf(id)
    if (file === undefined) continue
    const entry = `${JSON.stringify(id)}:${JSON.stringify(await blobToDataUrl(file))}`
    files.push(new Blob([files.length === 0 ? '\n' : ',\n', entry]))
  }
  const start = `{"oriel":"conversations","conversations":${JSON.stringify(these)},"files":{`
  saveAs(`oriel-${name}.json`, new Blob([start, ...files, '}}'], { type: 'application/json' }))
}

/** undefined: it is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const fileName = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .slice(0, 40)
    .replace(/^-|-$/g, '') || 'conversation'

/** undefined: it is not a data: URL with base64. */
function blobOf(url: string): Blob | undefined {
  const [, type = '', base64 = ''] = /^data:([^;,]*);base64,(.*)$/s.exec(url) ?? []
  try {
    return new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], { type })
  } catch {
    return undefined
  }
}
