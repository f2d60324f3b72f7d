import { fileURLToPath } from 'node:url'
import {
  type Engine,
  type EngineSettings,
  type GenerateEvent,
  type GenerateRequest,
  type ImageAttachment,
  type PromptPiece,
  type Sampling,
  startEngine,
} from '../../src/engine/index.ts'
import { createLogger, type Logger } from '../../src/log.ts'
import { availableProcessors } from '../../src/processors.ts'
import { pixels } from './pixels.ts'

export const pocketFolder = fileURLToPath(new URL('../../models/pocket/', import.meta.url))

export const engineSettings: EngineSettings = {
  threads: availableProcessors(),
  contextCells: 4096,
  bytesPerCell: 2048,
  maxSequences: 32,
  storedSequences: 64,
  chunkTokens: 256,
  maxQueue: 512,
  encoderCacheBytes: 50e6,
  weightCacheBytes: 0,
  prefixCacheBytes: 50e6,
  maxAdapters: 8,
  adapterBytes: 50e6,
  visionBytes: 8e6,
  kvType: 'f16',
  flashAttention: true,
  visionRuntime: 'onnx',
  visionPrecision: 'fp32',
}

/** A real engine with the built-in model. */
export const startPocket = (
  settings: Partial<EngineSettings> = {},
  log: Logger = createLogger('silent'),
): Promise<Engine> =>
  startEngine({
    decoder: `${pocketFolder}pocket.gguf`,
    projector: `${pocketFolder}mmproj-pocket.gguf`,
    name: 'pocket',
    settings: { ...engineSettings, ...settings },
    log,
  })

export const greedy: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  typicalP: 1,
  mirostat: null,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: null,
  logitBias: [],
  grammar: null,
}

export const requestOf = (prompt: readonly PromptPiece[], over: Partial<GenerateRequest> = {}): GenerateRequest => ({
  prompt,
  maxTokens: 48,
  overflow: 'error',
  client: 'one',
  n: 1,
  stop: [],
  includeStop: false,
  stopTokens: [],
  minTokens: 0,
  ignoreEos: false,
  shownTokens: [],
  sampling: greedy,
  topLogprobs: null,
  promptLogprobs: false,
  cacheKey: '',
  cachePrompt: true,
  cachedMost: null,
  ...over,
})

/** A question about images in the built-in model's chat format. */
export const ask = (question: string, ...images: ImageAttachment[]): PromptPiece[] => [
  { kind: 'text', text: '<|im_start|>user\n', special: true },
  ...images,
  { kind: 'text', text: `${question}<|im_end|>\n<|im_start|>assistant\n`, special: true },
]

/** An image of a square in one colour. @param name its hash, by default made of the other arguments */
export function square(
  colour: readonly [number, number, number],
  size = 64,
  edge = 24,
  name?: string,
): ImageAttachment {
  const rgb = new Uint8Array(size * size * 3).fill(250)
  const from = (size - edge) / 2
  for (let y = from; y < from + edge; y++) for (let x = from; x < from + edge; x++) rgb.set(colour, (y * size + x) * 3)
  return {
    kind: 'image',
    width: size,
    height: size,
    pixels: pixels(rgb),
    hash: name ?? `${colour} ${size} ${edge}`,
    detail: 'auto',
  }
}

export interface Answer {
  texts: string[]
  reasons: string[]
  events: GenerateEvent[]
  prompt: Extract<GenerateEvent, { type: 'prompt' }>
}

export async function answerOf(
  engine: Engine,
  request: GenerateRequest,
  signal = new AbortController().signal,
): Promise<Answer> {
  const texts: string[] = Array.from({ length: request.n }, () => '')
  const reasons: string[] = []
  const events: GenerateEvent[] = []
  let prompt: Answer['prompt'] | undefined
  for await (const event of engine.generate(request, signal)) {
    events.push(event)
    if (event.type === 'prompt') prompt = event
    if (event.type === 'text') texts[event.choice] += event.text
    if (event.type === 'end') reasons[event.choice] = event.reason
  }
  if (prompt === undefined) throw new Error('an answer without a prompt event')
  return { texts, reasons, events, prompt }
}
