import type { UpstreamApi } from '../settings.ts'
import { chatCompletions } from './chat-completions.ts'
import { messages } from './messages.ts'
import type { Wire } from './wire.ts'

export type { FoundModel } from './wire.ts'

/** How each API of upstreams is spoken. */
export const wires: Readonly<Record<UpstreamApi, Wire>> = {
  openai: chatCompletions('openai'),
  fireworks: chatCompletions('fireworks'),
  novita: chatCompletions('novita'),
  anthropic: messages,
  vllm: chatCompletions('vllm'),
  sglang: chatCompletions('sglang'),
  'llama-server': chatCompletions('llama-server'),
  ollama: chatCompletions('ollama'),
  'lm-studio': chatCompletions('lm-studio'),
  oriel: chatCompletions('oriel'),
}
