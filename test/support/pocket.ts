import { fileURLToPath } from 'node:url'
import type { EngineConfig } from '../../src/config.ts'
import { loadConfig } from '../../src/config.ts'
import type {
  Engine,
  GenerateEvent,
  GenerateRequest,
  PictureInput,
  PromptPiece,
  Sampling,
} from '../../src/engine/generation.ts'
import { startEngine } from '../../src/engine/host.ts'
import { createLogger } from '../../src/log.ts'

export const pocketFolder = fileURLToPath(new URL('../../models/pocket/', import.meta.url))

/** A real engine with the built-in model. */
export const startPocket = (settings: Partial<EngineConfig> = {}): Promise<Engine> =>
  startEngine({
    decoder: `${pocketFolder}pocket.gguf`,
    projector: `${pocketFolder}mmproj-pocket.gguf`,
    name: 'pocket',
    config: { ...loadConfig({}, {}).engine, ...settings },
    log: createLogger('silent'),
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
  n: 1,
  stop: [],
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

/** A question about pictures in the built-in model's chat format. */
export const ask = (question: string, ...pictures: PictureInput[]): PromptPiece[] => [
  { kind: 'text', text: '<|im_start|>user\n', special: true },
  ...pictures.map((picture) => ({ kind: 'picture' as const, picture })),
  { kind: 'text', text: `${question}<|im_end|>\n<|im_start|>assistant\n`, special: true },
]

/** One colour with a square of another in it: enough for a picture of its own. */
export function square(colour: readonly [number, number, number], size = 64, edge = 24, name?: string): PictureInput {
  const rgb = new Uint8Array(size * size * 3).fill(250)
  const from = (size - edge) / 2
  for (let y = from; y < from + edge; y++) for (let x = from; x < from + edge; x++) rgb.set(colour, (y * size + x) * 3)
  return {
    width: size,
    height: size,
    pixels: { rgb, letGo() {} },
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
