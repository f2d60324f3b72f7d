import { createOriel, type OrielSettings } from '../../src/app.ts'
import type { Coordinates } from '../../src/coordinates.ts'
import { type Backend, embeddedBackend } from '../../src/deployments/index.ts'
import type { GenerateEvent, GenerateRequest } from '../../src/engine/index.ts'
import type { Media } from '../../src/media/index.ts'
import { pixels } from './pixels.ts'

/** An answer that a test generates event by event. */
export type Script = (request: GenerateRequest, signal: AbortSignal) => AsyncIterable<GenerateEvent>

export const promptEvent: GenerateEvent = { type: 'prompt', promptTokens: 12, cachedTokens: 4, attachmentTokens: [] }
/** @param generated tokens so far */
export const textEvent = (text: string, generated = 1): GenerateEvent => ({
  type: 'text',
  choice: 0,
  text,
  tokens: [],
  generated,
})
export const endEvents = (completionTokens: number): GenerateEvent[] => [
  { type: 'end', choice: 0, reason: 'stop', stop: null, completionTokens },
  { type: 'done', timings: { queue: 1, encode: 0, prefill: 2, firstToken: 3, generation: 4 }, attachments: [] },
]

/** Media that loads any URL as one small image. */
export const everyImage: Media = {
  check: () => {},
  load: async (sources) =>
    sources.map(() => ({
      kind: 'image',
      images: [
        {
          width: 2,
          height: 2,
          ...pixels(new Uint8Array(12)),
          hash: 'a',
          original: { width: 2, height: 2 },
          page: 1,
        },
      ],
      format: 'png',
      bytes: 12,
      from: 'request',
      fetchMs: 0,
      decodeMs: 0,
      pagesInFile: 1,
    })),
  prefetch: () => {},
  files: async () => [],
  write: async ({ rgb }) => ({ format: 'png', bytes: rgb }),
  clearCache: async () => {},
  warm: async () => {},
  close: async () => {},
}

interface ScriptedModel {
  chatTemplate?: string | null
  /** The longest edge of images, in pixels; null accepts no images. */
  longestEdge?: number | null
  /** How it writes boxes; by default no form is known. */
  coordinates?: Coordinates | null
  controlTokens?: readonly string[]
  media?: Media
}

/** A backend whose engine emits the events of the script. */
export function scriptedBackend(
  script: Script,
  {
    chatTemplate = null,
    longestEdge = null,
    coordinates = null,
    controlTokens = [],
    media = everyImage,
  }: ScriptedModel = {},
): Backend {
  return embeddedBackend({
    card: {
      id: 'scripted',
      aliases: ['accounts/oriel/models/scripted'],
      title: 'Scripted',
      description: '',
      decoder: '',
      projector: longestEdge === null ? null : '',
      sees: longestEdge !== null,
      hears: false,
      contextTokens: 100,
      bytes: 0,
      size: {
        layers: 1,
        decoderBytes: 0,
        visionBytes: 0,
        visionParameters: 0,
        visionLayers: 0,
        samplesPerToken: 0,
        bytesPerToken: 1,
        bytesPerSequence: 0,
      },
      embedding: null,
      chatTemplate,
      sampling: {},
      coordinates,
      created: 0,
      version: '',
    },
    media,
    engine: {
      model: {
        name: 'scripted',
        contextTokens: 100,
        vocabulary: 512,
        inputs: {
          image: longestEdge === null ? null : { family: 'scripted', longestEdge, framesPerTile: 1 },
          audio: null,
        },
        memory: { weightsBytes: 0, encodersBytes: 0, kvBytes: 0 },
        gpuLayers: 0,
        chatTemplate,
        bosToken: '',
        eosToken: '',
        endTokens: [],
        controlTokens,
      },
      generate: script,
      lengths: async (prompts) => prompts.map(() => 12),
      fit: async () => {},
      inputs: () => Promise.reject(new Error('it has no inputs')),
      encode: () => Promise.reject(new Error('it does not encode')),
      preview: async ({ width, height, pixels }) => [
        { width, height, rgb: await pixels.decode(), tiles: [{ x: 0, y: 0, width, height, tokens: 1 }] },
      ],
      loadAdapter: async () => {},
      unloadAdapter: async () => {},
      count: async () => ({ promptTokens: 12, attachmentTokens: [], tokens: [], spans: [] }),
      state: async () => ({
        running: 0,
        waiting: 0,
        storedPrefixes: 0,
        storedCells: 0,
        shelvedBytes: 0,
        cells: 0,
        freeCells: 0,
        encoderCacheBytes: 0,
        preemptions: 0,
        adapters: 0,
      }),
      close: async () => {},
    },
  })
}

/** A server with one backend. */
export async function serveBackend(
  backend: Backend,
  server: OrielSettings['server'] = {},
  accounts: OrielSettings['accounts'] = {},
): Promise<{ url: string; close(): Promise<void> }> {
  const prices = { input: 1, output: 2 }
  const settings = { model: [], logLevel: 'silent' as const, prices, accounts, server: { port: 0, ...server } }
  const oriel = await createOriel(settings, {
    env: { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR },
    backends: [backend],
  })
  const { url } = await oriel.listen()
  return { url, close: () => oriel.close() }
}

/** A server whose engine emits the events of the script. */
export function startScripted(
  script: Script,
  { vision = false, strict = false, ...model }: ScriptedModel & { vision?: boolean; strict?: boolean } = {},
): Promise<{ url: string; close(): Promise<void> }> {
  return serveBackend(scriptedBackend(script, { longestEdge: vision ? 100 : null, ...model }), { strict })
}

const textOf = ({ prompt }: GenerateRequest): string =>
  prompt.map((piece) => (piece.kind === 'text' ? piece.text : '')).join('')

/** A server whose engine answers each request with the next of these texts. `prompts` are what it was asked. */
export async function startTurns(answers: readonly string[], model: ScriptedModel = {}) {
  const prompts: string[] = []
  const server = await startScripted(async function* (request) {
    const answer = answers[prompts.length] ?? ''
    prompts.push(textOf(request))
    yield promptEvent
    for (const [before, word] of answer.split(/(?<= )/).entries()) yield textEvent(word, before + 1)
    yield* endEvents(answer.length)
  }, model)
  return { ...server, prompts }
}

/** A server whose engine answers with these words. `asked` are the requests. @param failure ends the answer after the words */
export async function startWords(words: readonly string[], failure?: Error) {
  const asked: GenerateRequest[] = []
  const server = await startScripted(async function* (request) {
    asked.push(request)
    yield promptEvent
    for (const [before, word] of words.entries()) yield textEvent(word, before + 1)
    if (failure !== undefined) throw failure
    yield* endEvents(words.length)
  })
  const promptText = () => (asked[0] === undefined ? '' : textOf(asked[0]))
  return { ...server, asked, promptText }
}
