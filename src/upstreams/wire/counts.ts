import { z } from 'zod'
import type { Count } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { AttemptFailed } from '../attempt-failed.ts'
import type { Upstream } from '../target.ts'
import { ask } from './asking.ts'
import { chatFields, post, promptFields } from './chat-body.ts'
import type { Fields } from './fields.ts'
import type { Variant } from './variants.ts'
import type { PreparedAsk } from './wire.ts'

/** Counts the tokens of a prompt. @param headers the upstream's key, in the way of its API */
export type Counts = (
  asked: PreparedAsk,
  model: string,
  variant: Variant,
  upstream: Upstream,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
) => Promise<Count>

/** A count of which no more than the sum is told. */
export const countOf = (promptTokens: number, { attachments }: Pick<PreparedAsk, 'attachments'>): Count => ({
  promptTokens,
  imageTokens: attachments.filter(({ kind }) => kind === 'image').map(() => 0),
  tokens: [],
  parts: async () => [],
})

const cannotCount = (): OrielError =>
  new OrielError('not_implemented', "This model's server does not count tokens without an answer.", {
    ...{ code: 'count_not_supported', elsewhere: true },
  })

/** Asks for a count. A server without the path counts nothing; it still answers. @throws OrielError, AttemptFailed as `ask` does */
const counted: typeof ask = (...asked) =>
  ask(...asked).catch((error: unknown) => {
    throw error instanceof AttemptFailed && error.error.code === 'upstream_lacks_model' ? cannotCount() : error
  })

const none: Counts = async () => {
  throw cannotCount()
}

const fieldsOf = (asked: PreparedAsk, variant: Variant): Fields =>
  asked.prompt.kind === 'chat' ? chatFields(asked, asked.prompt, variant) : promptFields(asked, asked.prompt, variant)

/** `/tokenize`, as vLLM has it. It counts the text only: the tokens of images are put in later. */
const ofVllm: Counts = async (asked, model, variant, upstream, headers, signal) => {
  if (asked.attachments.length > 0) throw cannotCount()
  const call = post('/tokenize', { model, ...fieldsOf(asked, variant) })
  const { count } = await counted(upstream, call, headers, z.object({ count: z.int().min(0) }), signal)
  return countOf(count, asked)
}

const llamaCount = z.object({ input_tokens: z.int().min(0) })

/** A chat with its images is counted by an endpoint of its own, a text by `/tokenize`. */
const ofLlamaServer: Counts = async (asked, model, variant, upstream, headers, signal) => {
  const fields = fieldsOf(asked, variant)
  if (asked.prompt.kind === 'chat') {
    const call = post('/v1/chat/completions/input_tokens', { model, ...fields })
    return countOf((await counted(upstream, call, headers, llamaCount, signal)).input_tokens, asked)
  }
  const call = post('/tokenize', { content: fields.prompt, add_special: true })
  const { tokens } = await counted(upstream, call, headers, z.object({ tokens: z.array(z.unknown()) }), signal)
  return countOf(tokens.length, asked)
}

const orielCount = z.object({
  usage: z.object({
    prompt_tokens: z.int().min(0),
    prompt_tokens_details: z.object({
      images: z.array(z.int().min(0)),
      video_tokens: z.int().min(0).default(0),
      audio_tokens: z.int().min(0).default(0),
    }),
  }),
})

/** A dry run tells the tokens of each image. */
const ofOriel: Counts = async (asked, model, variant, upstream, headers, signal) => {
  const path = asked.prompt.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions'
  const call = post(path, { model, ...fieldsOf(asked, variant), dry_run: true })
  const { prompt_tokens: promptTokens, prompt_tokens_details: details } = (
    await counted(upstream, call, headers, orielCount, signal)
  ).usage
  const others = { videoTokens: [details.video_tokens], audioTokens: [details.audio_tokens] }
  return { ...countOf(promptTokens, asked), imageTokens: details.images, ...others }
}

/** How each of the APIs that are OpenAI's counts. */
export const counts = {
  ...{ openai: none, fireworks: none, novita: none, vllm: ofVllm, sglang: none },
  ...{ 'llama-server': ofLlamaServer, ollama: none, 'lm-studio': none, oriel: ofOriel },
} satisfies Record<string, Counts>
