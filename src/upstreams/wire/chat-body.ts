import type { ChatMessage, ChatPrompt, PlainPrompt } from '../../deployments/index.ts'
import { jsonBody } from '../body.ts'
import type { Call } from '../target.ts'
import { attachmentAt, contentOf, requestBounds, urlOf } from './content.ts'
import type { Fields } from './fields.ts'
import { parametersOf } from './parameters.ts'
import { notThere } from './refusal.ts'
import type { Variant } from './variants.ts'
import type { PreparedAsk } from './wire.ts'

/** The request for a chat or a plain prompt. @throws OrielError as `Wire.call` does */
export function callOf(ask: PreparedAsk, model: string, variant: Variant): Call {
  const { prompt } = ask
  if (ask.adapter !== undefined) throw notThere('adapter', 'adapters of this server')
  const stream = { stream: true, ...variant.usage }
  return prompt.kind === 'chat'
    ? post('/v1/chat/completions', {
        model,
        ...chatFields(ask, prompt, variant),
        ...parametersOf(ask.settings, variant),
        ...chatLogprobs(ask, prompt, variant),
        ...stream,
      })
    : post('/v1/completions', {
        model,
        ...promptFields(ask, prompt, variant),
        ...parametersOf(ask.settings, { ...variant, maxTokens: 'max_tokens' }),
        ...(ask.settings.maxTokens === null ? unlimited(variant) : {}),
        ...plainLogprobs(ask, variant),
        ...stream,
      })
}

/** The default of most is 16 tokens. */
function unlimited({ plain }: Variant): Fields {
  if (plain?.unlimited === null) throw notThere('maxTokens', 'answers to the end of the context')
  return plain?.unlimited ?? {}
}

export const post = (path: string, body: unknown): Call => ({
  ...{ method: 'POST', path, headers: { 'content-type': 'application/json' } },
  body: jsonBody(body),
})

/** What a chat's prompt is made of. */
export function chatFields(ask: PreparedAsk, prompt: ChatPrompt, variant: Variant): Fields {
  const { messages, tools, calling, variables, continues, longest } = prompt
  if (continues && variant.continues === null) throw notThere('prompt', 'way to continue the last message')
  const drops = typeof longest === 'number'
  if (drops && !variant.truncates) throw notThere('longest', 'limit of prompts that drops the oldest turns')
  return {
    messages: messages.map((message) => messageOf(message, ask, variant)),
    ...toolFields(tools, calling, variant),
    ...variant.thinking(variables),
    ...(continues ? variant.continues : {}),
    ...(drops ? { prompt_truncate_len: longest } : {}),
    ...requestBounds(ask, variant),
  }
}

function messageOf(message: ChatMessage, ask: PreparedAsk, variant: Variant): Fields {
  const { role, content, name, reasoning, calls = [], callId } = message
  const { pastThoughts } = variant
  return {
    role,
    content: calls.length > 0 && content.length === 0 ? null : contentOf(content, ask, variant),
    ...(name === undefined ? {} : { name }),
    ...(reasoning === undefined ? {} : Object.fromEntries(pastThoughts.map((name) => [name, reasoning]))),
    ...(calls.length === 0
      ? {}
      : {
          tool_calls: calls.map(({ id, name, arguments: given }) => ({
            ...{ id, type: 'function', function: { name, arguments: given } },
          })),
        }),
    ...(callId === undefined ? {} : { tool_call_id: callId }),
  }
}

function toolFields(tools: ChatPrompt['tools'], { mode, parallel }: ChatPrompt['calling'], variant: Variant): Fields {
  if (mode === 'forced' && !variant.toolChoice) throw notThere('prompt', 'way to require a call')
  if (tools.length === 0 || (mode === 'none' && !variant.toolChoice)) return {}
  return {
    tools: tools.map(({ name, description, parameters, strict }) => ({
      type: 'function',
      function: {
        name,
        ...(description === undefined ? {} : { description }),
        parameters,
        ...(strict ? { strict } : {}),
      },
    })),
    // The tools are those that may be called, so none has to be named.
    ...(mode === 'auto' ? {} : { tool_choice: mode === 'none' ? 'none' : 'required' }),
    ...(parallel || !variant.parallelCalls ? {} : { parallel_tool_calls: false }),
  }
}

function chatLogprobs({ settings: { topLogprobs } }: PreparedAsk, { tools }: ChatPrompt, variant: Variant): Fields {
  if (topLogprobs === null) return {}
  if (variant.logprobsFrom === null) throw notThere('topLogprobs', 'log probabilities')
  if (tools.length > 0 && !variant.logprobsWithTools)
    throw notThere('topLogprobs', 'log probabilities of answers with tools')
  return { logprobs: true, top_logprobs: Math.max(topLogprobs, variant.logprobsFrom) }
}

function plainLogprobs({ settings: { topLogprobs } }: PreparedAsk, { logprobsFrom }: Variant): Fields {
  if (topLogprobs === null) return {}
  if (logprobsFrom === null) throw notThere('topLogprobs', 'log probabilities')
  return { logprobs: Math.max(topLogprobs, logprobsFrom) }
}

/** What a plain prompt is made of. Places of images are marked by `<image>`, where an API has them. */
export function promptFields(ask: PreparedAsk, { parts }: PlainPrompt, { plain }: Variant): Fields {
  if (plain === null) throw notThere('prompt', 'plain prompts, only chats')
  const images = parts.flatMap((part) => ('attachment' in part ? [attachmentAt(part, ask)] : []))
  const [refused] = images.filter(({ attachment }) => !plain.images || attachment.kind !== 'image')
  if (refused !== undefined) throw notThere(refused.attachment.param, 'attachments of plain prompts')
  const hasTokens = parts.some(({ kind }) => kind === 'tokens')
  if (hasTokens && !(plain.tokens && (plain.mixed || parts.length === 1)))
    throw notThere('prompt', plain.tokens ? 'prompts of text and tokens together' : 'prompts of tokens')
  const [only] = parts
  // Not copied: it may have millions.
  if (parts.length === 1 && only?.kind === 'tokens') return { prompt: only.tokens }
  const pieces = parts.flatMap((part): readonly (string | number)[] => {
    if (part.kind === 'tokens') return part.tokens
    // A document has several pages.
    return part.kind === 'text' ? [part.text] : attachmentAt(part, ask).prepared.files.map(() => '<image>')
  })
  return {
    prompt: hasTokens ? pieces : pieces.join(''),
    ...(images.length === 0 ? {} : { images: images.flatMap(({ prepared }) => prepared.files.map(urlOf)) }),
  }
}
