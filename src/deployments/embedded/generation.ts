import type { EngineModel, GenerateRequest, PromptPiece } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { ModelCard } from '../../models/index.ts'
import { callTags, thoughtEnd, thoughtTags } from '../../prompt/index.ts'
import type { Ask, CallableTool, ChatPrompt, Sampling } from '../ask.ts'

export function generateRequest(
  { prompt, settings, client }: Ask,
  pieces: readonly PromptPiece[],
  model: Pick<EngineModel, 'vocabulary' | 'controlTokens'>,
  recommended: ModelCard['sampling'],
  thinking: boolean,
): GenerateRequest {
  const forced = isForced(prompt) ? forcedCall(prompt.tools) : null
  const tags = prompt.kind === 'chat' ? [...(prompt.tools.length > 0 ? callTags : []), ...thoughtTags] : []
  const { sampling, isolation, echo: _, wantsTokens, ...others } = settings
  for (const { token } of sampling.logitBias ?? []) checkToken(token, model, `logitBias.${token}`)
  return {
    ...others,
    prompt: pieces,
    client,
    shownTokens: tags.filter((tag) => model.controlTokens.includes(tag)),
    sampling: {
      ...samplingOf(sampling, recommended),
      ...(forced === null ? {} : { grammar: forced }),
      // The grammar does not apply to a thought that the template has begun.
      ...(thinking ? { grammarAfter: thoughtEnd } : {}),
    },
    topLogprobs: settings.topLogprobs ?? (wantsTokens ? 0 : null),
    cacheKey: JSON.stringify(isolation),
  }
}

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

/** An engine's error in the terms of the ask: the grammar of a forced call is made of the tools. */
export function inAsk(error: unknown, { prompt }: Ask): unknown {
  const isTranslated = error instanceof OrielError && error.param === 'grammar' && isForced(prompt)
  return isTranslated ? inTools(error, prompt.tools) : error
}

const isForced = (prompt: Ask['prompt']): prompt is ChatPrompt & { tools: readonly CallableTool[] } =>
  prompt.kind === 'chat' && prompt.calling.mode === 'forced'

/** The grammar of an answer that is a call of one of these tools and nothing else. */
function forcedCall(tools: readonly CallableTool[]): Sampling['grammar'] {
  const calls = tools.map(({ name, parameters }, index) => ({
    type: 'object',
    properties: { name: { const: name }, arguments: moved(parameters, `#/anyOf/${index}/properties/arguments`) },
    required: ['name', 'arguments'],
    additionalProperties: false,
  }))
  return { kind: 'json_schema', schema: { anyOf: calls } }
}

/** An error of that schema as one of the tool whose parameters are at fault. */
function inTools(error: OrielError, tools: readonly CallableTool[]): OrielError {
  const { kind, code, schemaFault } = error
  const [anyOf, index, , keyword, ...inside] = schemaFault?.path ?? []
  const tool = anyOf === 'anyOf' && keyword === 'arguments' ? tools[Number(index)] : undefined
  if (schemaFault === undefined || tool === undefined) return error.at('tools')
  const place = [tool.param, ...inside].join('.').slice(0, 200)
  return new OrielError(kind, `The JSON schema cannot be used: ${place} ${schemaFault.reason}.`, {
    param: tool.param,
    code,
  })
}

/** A schema that was moved to `root`: its references to itself move along. */
function moved(schema: unknown, root: string): unknown {
  if (Array.isArray(schema)) return schema.map((item) => moved(item, root))
  if (typeof schema !== 'object' || schema === null) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) =>
      key === '$ref' && typeof value === 'string' && value.startsWith('#')
        ? [key, root + value.slice(1)]
        : [key, moved(value, root)],
    ),
  )
}
