import { kindOfFile } from '../../attachments.ts'
import {
  type Attachment,
  type ChatMessage,
  type ChatPrompt,
  type ContentPart,
  endsInAnswer,
  plainSettings,
  type Settings,
} from '../../deployments/index.ts'
import { type AnswerRequest, attach, isolationOf } from '../answering/request.ts'
import { readCompletions } from '../completions/read.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { text } from '../request/content.ts'
import { topLogprobsOf } from '../request/parameters.ts'
import { chooseTools, functionsOf } from '../request/tools.ts'
import { type ChatRequest, type GenerateRequest, options as known, withoutTag } from './schema.ts'

/** A request of Ollama's chats. @throws OrielError `invalid` */
export function readChat(body: ChatRequest, context: RequestContext): AnswerRequest {
  const attachments: Attachment[] = []
  const messages = readMessages(body.messages ?? [], attachments)
  return {
    ...common(body, context),
    prompt: {
      ...promptOf(body, messages),
      ...chooseTools(functionsOf(body.tools), 'auto', null, true),
      longest: (body.truncate ?? true) ? 'context' : null,
    },
    attachments,
    params: { prompt: 'messages', grammar: 'format', longest: 'messages' },
  }
}

/** A request that completes a text: in the model's format as a chat of one turn, or as it is. @throws OrielError `invalid` */
export function readGenerate(body: GenerateRequest, context: RequestContext): AnswerRequest[] {
  const { prompt, system, images } = body
  const params = { prompt: 'prompt', grammar: 'format', longest: 'prompt' }
  if (body.raw) {
    if (system) context.ignore('system', 'has no effect if raw is true')
    const asked = readCompletions({ model: body.model, prompt: prompt ?? '', images }, context)
    return asked.map((request) => ({ ...request, ...common(body, context), params }))
  }
  const attachments: Attachment[] = []
  const messages: ChatMessage[] = [
    ...(system ? [{ role: 'system', content: [text(system)] }] : []),
    { role: 'user', content: [...readImages(images, 'images', attachments), text(prompt ?? '')] },
  ]
  return [{ ...common(body, context), prompt: promptOf(body, messages), attachments, params }]
}

/** Whether a request unloads the model. */
export const unloads = ({ keep_alive: keep }: Pick<ChatRequest, 'keep_alive'>): boolean =>
  keep === 0 || (typeof keep === 'string' && /^0(ns|us|ms|s|m|h)?$/.test(keep))

const common = (body: ChatRequest | GenerateRequest, context: RequestContext) => ({
  model: withoutTag(body.model),
  settings: settingsOf(body, context),
  unload: unloads(body),
})

const promptOf = ({ think }: ChatRequest | GenerateRequest, messages: readonly ChatMessage[]): ChatPrompt => ({
  kind: 'chat',
  messages,
  tools: [],
  calling: { mode: 'auto', parallel: true },
  variables: variablesOf(think),
  splitReasoning: true,
  continues: endsInAnswer(messages),
  longest: 'context',
})

function variablesOf(think: ChatRequest['think']): ChatPrompt['variables'] {
  if (think == null) return {}
  if (typeof think === 'boolean') return { enable_thinking: think }
  // Templates have no effort above high.
  return { enable_thinking: true, reasoning_effort: think === 'max' ? 'high' : think }
}

function settingsOf(body: ChatRequest | GenerateRequest, context: RequestContext): Settings {
  const { options, format } = body
  if (body.keep_alive != null && !unloads(body))
    context.ignore('keep_alive', 'has no effect unless it is 0: the settings of the server decide it')
  for (const name of Object.keys(options ?? {}))
    if (!Object.hasOwn(known.shape, name))
      context.ignore(`options.${name.slice(0, 60)}`, 'is not an option of this server')
  return {
    ...plainSettings,
    maxTokens: options?.num_predict != null && options.num_predict > 0 ? options.num_predict : null,
    overflow: context.dialect.defaults.overflow,
    stop: [options?.stop ?? []].flat().filter((stop) => stop !== ''),
    sampling: {
      temperature: options?.temperature,
      topP: options?.top_p,
      topK: options?.top_k,
      minP: options?.min_p,
      typicalP: options?.typical_p,
      mirostat: options?.mirostat ? { target: options.mirostat_tau ?? 5, rate: options.mirostat_eta ?? 0.1 } : null,
      repetitionPenalty: options?.repeat_penalty,
      frequencyPenalty: options?.frequency_penalty,
      presencePenalty: options?.presence_penalty,
      seed: options?.seed == null || options.seed < 0 ? null : options.seed >>> 0,
      grammar: format ? { kind: 'json_schema', schema: format === 'json' ? { type: 'object' } : format } : null,
    },
    topLogprobs: topLogprobsOf(body),
    isolation: isolationOf(context.isolationKey),
    wantsBoxes: body.return_boxes ?? false,
  }
}

/**
 * Calls have no ids in older clients, and their results name the function, or nothing: a result without an id answers the
 * first open call of its function.
 */
function readMessages(messages: NonNullable<ChatRequest['messages']>, attachments: Attachment[]): ChatMessage[] {
  let open: { id: string; name: string }[] = []
  return messages.map((message, turn) => {
    const { role, content, thinking, images, tool_calls, tool_name, tool_call_id } = message
    const calls = tool_calls?.map(({ id, function: { name, arguments: given } }, index) => ({
      id: id ?? `call_${turn}_${index}`,
      name,
      arguments: JSON.stringify(given ?? {}),
    }))
    if (calls !== undefined) open = calls.map(({ id, name }) => ({ id, name }))
    const place =
      role === 'tool'
        ? open.findIndex(({ id, name }) =>
            tool_call_id == null ? tool_name == null || name === tool_name : id === tool_call_id,
          )
        : -1
    const [answered] = place < 0 ? [] : open.splice(place, 1)
    return {
      role,
      content: [...readImages(images, `messages[${turn}].images`, attachments), ...(content ? [text(content)] : [])],
      ...(role === 'tool' ? { name: tool_name ?? answered?.name, callId: tool_call_id ?? answered?.id } : {}),
      reasoning: thinking ?? undefined,
      calls,
    }
  })
}

const readImages = (
  images: readonly string[] | null | undefined,
  param: string,
  attachments: Attachment[],
): ContentPart[] =>
  (images ?? []).map((url, index) =>
    attach(attachments, { kind: kindOfFile(url), url, detail: 'auto', param: `${param}[${index}]` }),
  )
