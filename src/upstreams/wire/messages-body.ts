import type { AttachmentPart, ChatMessage, ChatPrompt, ContentPart, Settings } from '../../deployments/index.ts'
import { endsInAnswer } from '../../deployments/index.ts'
import { mostJson, parseJson } from '../../json.ts'
import type { PreparedFile } from '../attachments.ts'
import { Characters } from '../body.ts'
import { attachmentAt } from './content.ts'
import type { Fields } from './fields.ts'
import { named, refuseInner } from './named.ts'
import { notThere } from './refusal.ts'
import type { PreparedAsk } from './wire.ts'

/** Its API wants a limit in every request. This is one that all of its models allow. */
const usualMaxTokens = 8192

/** A request of Anthropic's Messages. @throws OrielError as `Wire.call` does */
export function messagesBody(ask: PreparedAsk, model: string): Fields {
  const { settings } = ask
  const { temperature, topP, topK } = settings.sampling
  refuseInner(settings)
  const variables = promptOf(ask).variables
  return {
    ...promptFields(ask, model),
    max_tokens: settings.maxTokens ?? usualMaxTokens,
    ...named({ ...settings, sampling: { ...settings.sampling, topK: null } }, {}),
    ...(temperature == null ? {} : { temperature }),
    ...(topP == null ? {} : { top_p: topP }),
    // Its default is no limit.
    ...(topK == null || topK === 0 ? {} : { top_k: topK }),
    ...(settings.stop.length === 0 ? {} : { stop_sequences: settings.stop }),
    ...outputOf(settings, variables),
    stream: true,
  }
}

/** What a prompt is made of, which is all that is counted. */
export function promptFields(ask: PreparedAsk, model: string): Fields {
  const prompt = promptOf(ask)
  const { messages, tools, calling, longest, continues, variables } = prompt
  if (ask.adapter !== undefined) throw notThere('adapter', 'adapters of this server')
  if (typeof longest === 'number') throw notThere('longest', 'limit of prompts that drops the oldest turns')
  // It continues such a chat in any case.
  if (!continues && endsInAnswer(messages)) throw notThere('prompt', 'answer to a last message of the assistant')
  const first = messages.findIndex(({ role }) => role !== 'system')
  const turns = first < 0 ? [] : messages.slice(first)
  const system = first < 0 ? messages : messages.slice(0, first)
  const parts = system.flatMap(({ content }) => content.filter(isSaid))
  return {
    model,
    ...(parts.length === 0 ? {} : { system: parts.map(systemPart) }),
    messages: joined(turns.map((message) => turnOf(message, ask))),
    ...toolFields(tools, calling),
    ...thinkingOf(variables),
  }
}

function promptOf({ prompt }: PreparedAsk): ChatPrompt {
  if (prompt.kind === 'chat') return prompt
  throw notThere('prompt', 'plain prompts, only chats')
}

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: readonly unknown[]
}

/** It refuses empty texts, and those of spaces. */
const isSaid = (part: ContentPart): boolean => part.kind !== 'text' || part.text.trim() !== ''

function systemPart(part: ContentPart): Fields {
  if (part.kind !== 'text') throw notThere('prompt', 'attachments in system prompts')
  return { type: 'text', text: part.text }
}

function turnOf({ role, content, name, calls = [], callId }: ChatMessage, ask: PreparedAsk): Turn {
  if (role === 'system') throw notThere('prompt', 'system prompts after the first turn')
  if (role === 'tool') {
    const result = { type: 'tool_result', tool_use_id: callId ?? '', content: blocksOf(content, ask) }
    return { role: 'user', content: [result] }
  }
  if (name !== undefined) throw notThere('prompt', 'names of participants')
  if (role !== 'assistant') return { role: 'user', content: blocksOf(content, ask) }
  // Past thoughts are left out: it takes only its own, which are signed.
  return { role, content: [...blocksOf(content, ask), ...calls.map(callBlock)] }
}

function callBlock({ id, name, arguments: given }: NonNullable<ChatMessage['calls']>[number]): Fields {
  if (given.length > mostJson.characters)
    throw notThere('prompt', `calls whose arguments have more than ${mostJson.characters} characters`)
  const input = given.trim() === '' ? {} : parseJson(given)
  if (typeof input !== 'object' || input === null) throw notThere('prompt', 'calls whose arguments are no JSON object')
  return { type: 'tool_use', id, name, input }
}

/** Results of calls that were made together have to be in one turn. */
function joined(turns: readonly Turn[]): Turn[] {
  const all: (Turn & { content: unknown[] })[] = []
  for (const { role, content } of turns) {
    const last = all.at(-1)
    if (last?.role === role) last.content.push(...content)
    else all.push({ role, content: [...content] })
  }
  return all
}

const blocksOf = (content: readonly ContentPart[], ask: PreparedAsk): unknown[] =>
  content.flatMap((part): unknown[] => {
    if (part.kind !== 'text') return attachmentBlocks(part, ask)
    return isSaid(part) ? [{ type: 'text', text: part.text }] : []
  })

function attachmentBlocks(part: AttachmentPart, ask: PreparedAsk): Fields[] {
  const { attachment, prepared } = attachmentAt(part, ask)
  if (part.kind !== 'image' && !prepared.asFrames) throw notThere(attachment.param, `place for ${part.kind}`)
  if (attachment.bounds !== undefined) throw notThere(attachment.param, 'bounds of images')
  return prepared.files.map(imageBlock)
}

const imageBlock = (file: PreparedFile): Fields =>
  file.url === undefined
    ? { type: 'image', source: { type: 'base64', media_type: file.type, data: new Characters(file.base64) } }
    : { type: 'image', source: { type: 'url', url: file.url } }

function toolFields(tools: ChatPrompt['tools'], { mode, parallel }: ChatPrompt['calling']): Fields {
  if (tools.length === 0) return {}
  const type = mode === 'forced' ? 'any' : mode
  const single = parallel || mode === 'none' ? {} : { disable_parallel_tool_use: true }
  return {
    tools: tools.map(({ name, description, parameters, strict }) => ({
      name,
      ...(description === undefined ? {} : { description }),
      input_schema: parameters,
      ...(strict ? { strict } : {}),
    })),
    ...(mode === 'auto' && parallel ? {} : { tool_choice: { type, ...single } }),
  }
}

/** Whether it thinks. How much is a setting of the output. */
function thinkingOf({ enable_thinking: thinks, reasoning_effort: effort, ...others }: ChatPrompt['variables']): Fields {
  const [other] = Object.keys(others)
  if (other !== undefined) throw notThere(`variables.${other}`, 'variables of a chat template')
  if (thinks === false || effort === 'none') return { thinking: { type: 'disabled' } }
  if (thinks === undefined && effort === undefined) return {}
  return { thinking: { type: 'adaptive', display: 'summarized' } }
}

function outputOf({ sampling, topLogprobs }: Settings, { reasoning_effort: effort }: ChatPrompt['variables']): Fields {
  const { grammar, mirostat, logitBias } = sampling
  if (topLogprobs !== null) throw notThere('topLogprobs', 'log probabilities')
  if (mirostat != null) throw notThere('mirostat', 'mirostat')
  if (logitBias != null && logitBias.length > 0) throw notThere('logitBias', 'biases of tokens')
  if (grammar != null && grammar.kind !== 'json_schema') throw notThere('grammar', 'grammars, only JSON Schemas')
  const config = {
    ...(effort === undefined || effort === 'none' ? {} : { effort }),
    ...(grammar == null ? {} : { format: { type: 'json_schema', schema: grammar.schema } }),
  }
  return Object.keys(config).length === 0 ? {} : { output_config: config }
}
