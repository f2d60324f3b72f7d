import type { EngineModel, GenerateRequest, PromptPiece } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { ModelCard } from '../../models/index.ts'
import { callTags, thoughtEnd, thoughtTags } from '../../prompt/index.ts'
import type { Ask, CallableTool, ChatPrompt, Sampling } from '../ask.ts'
import { forcedCall, inTools } from './forced-call.ts'

export function generateRequest(
  { prompt, settings }: Ask,
  pieces: readonly PromptPiece[],
  model: Pick<EngineModel, 'vocabulary' | 'controlTokens'>,
  recommended: ModelCard['sampling'],
  thinking: boolean,
): GenerateRequest {
  const forced = isForced(prompt) ? forcedCall(prompt.tools) : null
  const tags = prompt.kind === 'chat' ? [...(prompt.tools.length > 0 ? callTags : []), ...thoughtTags] : []
  const { sampling, isolation, echo: _, wantsTokens, ...others } = settings
  for (const { token } of sampling.logitBias ?? [])
    if (token >= model.vocabulary)
      throw new OrielError(
        'invalid',
        `Token ${token} is not in this model's vocabulary of ${model.vocabulary} tokens.`,
        { param: `logitBias.${token}`, code: 'invalid_value' },
      )
  return {
    ...others,
    prompt: pieces,
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
export function inAsk(error: OrielError, { prompt }: Ask): OrielError {
  return error.param === 'grammar' && isForced(prompt) ? inTools(error, prompt.tools) : error
}

const isForced = (prompt: Ask['prompt']): prompt is ChatPrompt & { tools: readonly CallableTool[] } =>
  prompt.kind === 'chat' && prompt.calling.mode === 'forced'
