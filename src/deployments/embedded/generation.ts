import type { EngineModel, GenerateRequest, PromptPiece, SchemaPath } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import { JsonWalk, mostJson } from '../../json.ts'
import type { ModelCard } from '../../models/index.ts'
import {
  callTags,
  forcedCall,
  formatOrCalls,
  formatRule,
  isRegionToken,
  possibleCalls,
  thoughtEnd,
  thoughtTags,
  toolRule,
} from '../../prompt/index.ts'
import type { Ask, CallableTool, ChatPrompt, Sampling, Settings } from '../ask.ts'

export function generateRequest(
  { prompt, settings, client, adapter }: Ask,
  pieces: readonly PromptPiece[],
  model: Pick<EngineModel, 'vocabulary' | 'controlTokens' | 'chatTemplate'>,
  recommended: ModelCard['sampling'],
  thinking: boolean,
): GenerateRequest {
  const calls = callsOf(prompt, settings, model.chatTemplate ?? '', thinking)
  const tags = prompt.kind === 'chat' ? [...(prompt.tools.length > 0 ? callTags : []), ...thoughtTags] : []
  const { sampling, isolation: _, affinity: __, echo: ___, wantsTokens, wantsBoxes, ...others } = settings
  for (const { token } of sampling.logitBias ?? []) checkToken(token, model, `logitBias.${token}`)
  return {
    ...others,
    prompt: pieces,
    client,
    shownTokens: [
      ...tags.filter((tag) => model.controlTokens.includes(tag)),
      ...(wantsBoxes ? model.controlTokens.filter(isRegionToken) : []),
    ],
    sampling: {
      ...samplingOf(sampling, recommended),
      ...(calls === null ? {} : { grammar: calls }),
      // The grammar does not apply to a thought that the template has begun.
      ...(thinking ? { grammarAfter: thoughtEnd } : {}),
    },
    topLogprobs: settings.topLogprobs ?? (wantsTokens ? 0 : null),
    cacheKey: cacheKeyOf(settings),
    adapter: adapter && { id: adapter.card.id, scale: adapter.scale },
  }
}

/** Requests with equal keys share what is cached. */
export const cacheKeyOf = ({ isolation }: Pick<Settings, 'isolation'>): string => JSON.stringify(isolation)

/** @throws OrielError `invalid` for a token that the model does not have */
export function checkToken(token: number, { vocabulary }: Pick<EngineModel, 'vocabulary'>, param: string): void {
  if (token < vocabulary) return
  const message = `Token ${token} is not in this model's vocabulary of ${vocabulary} tokens.`
  throw new OrielError('invalid', message, { param, code: 'invalid_value' })
}

/** The request's sampling, then the model's recommendation, then neutral values. */
const samplingOf = (asked: Ask['settings']['sampling'], recommended: ModelCard['sampling']): Sampling => ({
  temperature: asked.temperature ?? recommended.temperature ?? 1,
  topP: asked.topP ?? recommended.topP ?? 1,
  topK: asked.topK ?? recommended.topK ?? 0,
  minP: asked.minP ?? recommended.minP ?? 0,
  typicalP: asked.typicalP ?? 1,
  mirostat: asked.mirostat ?? null,
  repetitionPenalty: asked.repetitionPenalty ?? 1,
  frequencyPenalty: asked.frequencyPenalty ?? 0,
  presencePenalty: asked.presencePenalty ?? 0,
  seed: asked.seed ?? null,
  logitBias: asked.logitBias ?? [],
  grammar: asked.grammar ?? null,
})

/**
 * Refuses schemas that are too deep, or together too large: templates and messages between processes walk through them by recursion.
 * @throws OrielError `invalid`
 */
export function checkSchemas({ prompt, settings: { sampling } }: Ask): void {
  const tools = prompt.kind === 'chat' ? prompt.tools : []
  const schemas = tools.map(({ parameters, param }) => ({ schema: parameters as unknown, param }))
  if (sampling.grammar?.kind === 'json_schema') schemas.push({ schema: sampling.grammar.schema, param: 'grammar' })
  const walk = new JsonWalk()
  const deep = schemas.find(({ schema }) => walk.isBeyond(schema))
  if (deep === undefined) return
  const { depth, containers, members } = mostJson
  const message = `The JSON schema cannot be used: it is nested more than ${depth} deep, or has, with those before it, more than ${containers} objects and arrays or ${members} members.`
  throw new OrielError('invalid', message, { param: deep.param, code: 'invalid_json_schema' })
}

/** The grammar of an answer with calls: nothing but a call, or a text that may have calls. */
function callsOf(
  prompt: Ask['prompt'],
  { sampling }: Settings,
  template: string,
  thinking: boolean,
): Sampling['grammar'] {
  if (!isCalling(prompt)) return null
  if (prompt.calling.mode === 'forced') return forcedCall(prompt.tools)
  const { grammar: format } = sampling
  if (format == null) return possibleCalls(prompt.tools, template, prompt.splitReasoning && !thinking)
  // Into a grammar that the client wrote itself, calls do not fit: it has them, or there are none.
  return format.kind === 'json_schema' ? formatOrCalls(prompt.tools, template, format) : null
}

/** An engine's error in the terms of the ask: the grammar of calls is made of the tools. */
export function inAsk(error: unknown, { prompt, settings }: Ask): unknown {
  if (!(error instanceof OrielError) || error.param !== 'grammar' || !isCalling(prompt)) return error
  if (hasBoth(prompt, settings)) return inBoth(error, prompt.tools)
  const isOfTools = prompt.calling.mode === 'forced' || settings.sampling.grammar == null
  return isOfTools ? inTools(error, prompt.tools) : error
}

/** Whether the grammar is that of a format or calls. */
const hasBoth = (prompt: Ask['prompt'], { sampling }: Settings): boolean =>
  isCalling(prompt) && prompt.calling.mode === 'auto' && sampling.grammar?.kind === 'json_schema'

/** An error of a grammar of a format or calls. One of the format is as if there were no tools. */
function inBoth(error: OrielError, tools: readonly CallableTool[]): OrielError {
  const { kind, code, schemaFault } = error
  if (schemaFault === undefined) return error
  if (toolAt(schemaFault.path, tools) !== undefined) return inTools(error, tools)
  const place = ['$', ...inFormat(schemaFault.path)].join('.').slice(0, 200)
  const message = `The JSON schema cannot be used: ${place} ${schemaFault.reason}.`
  return new OrielError(kind, message, { param: 'grammar', code })
}

const inFormat = ([rule, ...inside]: SchemaPath): SchemaPath =>
  rule === formatRule || rule === undefined ? inside : [rule, ...inside]

const isCalling = (prompt: Ask['prompt']): prompt is ChatPrompt =>
  prompt.kind === 'chat' && prompt.tools.length > 0 && prompt.calling.mode !== 'none'

/** An error of a tool's schema, whose path begins with the rule of the tool, in the terms of the ask. */
function inTools(error: OrielError, tools: readonly CallableTool[]): OrielError {
  const { kind, code, schemaFault } = error
  const tool = schemaFault === undefined ? undefined : toolAt(schemaFault.path, tools)
  if (schemaFault === undefined || tool === undefined) return error.at('tools')
  const place = placeIn(tool, schemaFault.path)
  return new OrielError(kind, `The JSON schema cannot be used: ${place} ${schemaFault.reason}.`, {
    param: tool.param,
    code,
  })
}

const toolAt = ([rule]: SchemaPath, tools: readonly CallableTool[]): CallableTool | undefined =>
  tools.find((_, index) => rule === toolRule(index))

const placeIn = ({ param }: CallableTool, [, ...inside]: SchemaPath): string =>
  [param, ...inside].join('.').slice(0, 200)

/** The parts of the ask's schemas that the answer does not hold to. */
export function ignoredOf(paths: readonly SchemaPath[], { prompt, settings }: Ask): string[] {
  const tools = prompt.kind === 'chat' ? prompt.tools : []
  return paths.map((path) => {
    const tool = toolAt(path, tools)
    if (tool !== undefined) return placeIn(tool, path)
    const inside = hasBoth(prompt, settings) ? inFormat(path) : path
    return ['grammar', ...inside].join('.').slice(0, 200)
  })
}
