import { z } from 'zod'
import type { AttachmentKind } from '../../attachments.ts'
import type { Upstream } from '../target.ts'
import { ask, askIfThere, get } from './asking.ts'
import { post } from './chat-body.ts'
import type { FoundModel } from './wire.ts'

/** Asks an upstream for its models. @param headers its key, in the way of its API */
export type FindsModels = (
  upstream: Upstream,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
) => Promise<readonly FoundModel[]>

const unknown = {
  as: null,
  title: null,
  created: null,
  contextTokens: null,
  inputs: null,
  tools: null,
  thoughts: null,
  embeds: false,
} satisfies Omit<FoundModel, 'id'>

const id = z.string().min(1)
const created = z.int().min(0).nullish().catch(null)
const tokens = z.int().min(1).nullish().catch(null)
const flag = z.boolean().nullish().catch(null)
const list = <Model extends z.ZodType>(model: Model) => z.object({ data: z.array(model) })

const inputsOf = (kinds: Readonly<Record<AttachmentKind, boolean | null | undefined>>): AttachmentKind[] =>
  (Object.keys(kinds) as AttachmentKind[]).filter((kind) => kinds[kind])

const openaiModel = z.object({
  id,
  created,
  // Of vLLM and SGLang.
  max_model_len: tokens,
  // Of Fireworks and Oriel.
  ...{ context_length: tokens, supports_chat: flag, supports_image_input: flag, supports_video_input: flag },
  ...{ supports_audio_input: flag, supports_tools: flag },
  // Of Novita and Oriel.
  ...{ title: z.string().nullish().catch(null), context_size: tokens, model_type: z.string().nullish().catch(null) },
  features: z.array(z.string()).nullish().catch(null),
  input_modalities: z.array(z.string()).nullish().catch(null),
  // Of Oriel: what is in its catalogue only is not there.
  state: z.string().nullish().catch(null),
})

/** `/v1/models`, with the fields that other servers add to OpenAI's. */
const listed: FindsModels = async (upstream, headers, signal) => {
  const { data } = await ask(upstream, get('/v1/models'), headers, list(openaiModel), signal)
  return (
    data
      // One whose load has failed is loaded by the next request for it, and says what is wrong with it.
      .filter(({ state }) => state !== 'not_pulled')
      .map((model) => ({
        ...unknown,
        ...{ id: model.id, title: model.title ?? null, created: model.created ?? null },
        contextTokens: model.max_model_len ?? model.context_length ?? model.context_size ?? null,
        inputs: toldInputs(model),
        tools: model.supports_tools ?? model.features?.includes('function-calling') ?? null,
        thoughts: model.features?.includes('reasoning') ?? null,
        embeds: model.model_type === 'embedding' || model.supports_chat === false,
      }))
  )
}

function toldInputs(model: z.output<typeof openaiModel>): AttachmentKind[] | null {
  const { features, input_modalities: modalities } = model
  if (modalities != null)
    return inputsOf({
      ...{ image: modalities.includes('image'), audio: modalities.includes('audio') },
      video: modalities.includes('video'),
    })
  if (model.supports_image_input == null) return features == null ? null : features.includes('vision') ? ['image'] : []
  return inputsOf({
    ...{ image: model.supports_image_input, audio: model.supports_audio_input, video: model.supports_video_input },
  })
}

const sglangInfo = z.object({ has_image_understanding: flag, has_audio_understanding: flag, is_generation: flag })

/** SGLang serves one model, and tells of it apart from the list. */
const ofSglang: FindsModels = async (upstream, headers, signal) => {
  const [models, info] = await Promise.all([
    listed(upstream, headers, signal),
    askIfThere(upstream, get('/get_model_info'), headers, sglangInfo, signal),
  ])
  const images = info?.has_image_understanding
  if (images == null) return models
  const inputs = inputsOf({ image: images, audio: info?.has_audio_understanding, video: images })
  return models.map((model) => ({ ...model, inputs, embeds: info?.is_generation === false }))
}

const llamaModels = z.object({
  data: z.array(
    z.object({ id, created, meta: z.object({ n_ctx: tokens, n_ctx_train: tokens }).nullish().catch(null) }),
  ),
})

const llamaProps = z.object({
  default_generation_settings: z.object({ n_ctx: tokens }).nullish().catch(null),
  modalities: z.object({ vision: flag, video: flag, audio: flag }).nullish().catch(null),
  chat_template_caps: z.object({ supports_tools: flag, supports_tool_calls: flag }).nullish().catch(null),
})

/** llama-server serves one model, or several as a router, whose properties are not told. */
const ofLlamaServer: FindsModels = async (upstream, headers, signal) => {
  const [{ data }, props] = await Promise.all([
    ask(upstream, get('/v1/models'), headers, llamaModels, signal),
    askIfThere(upstream, get('/props'), headers, llamaProps, signal),
  ])
  const told = data.length === 1 ? props : null
  const { vision, video, audio } = told?.modalities ?? {}
  return data.map(({ id, created = null, meta }) => ({
    ...{ ...unknown, id, created, as: fileName(id) },
    contextTokens: told?.default_generation_settings?.n_ctx ?? meta?.n_ctx ?? meta?.n_ctx_train ?? null,
    inputs: told?.modalities == null ? null : inputsOf({ image: vision, audio, video }),
    tools: told?.chat_template_caps?.supports_tools ?? null,
  }))
}

/** Of a model that is named by the path of its file. */
const fileName = (id: string): string | null => /[\\/]([^\\/]+)\.gguf$/.exec(id)?.[1] ?? null

const ollamaTag = z.object({ name: id, digest: id.nullish().catch(null) })

const ollamaShow = z.object({
  capabilities: z.array(z.string()).nullish().catch(null),
  parameters: z.string().nullish().catch(null),
  model_info: z.record(z.string(), z.unknown()).nullish().catch(null),
})

type OllamaTag = z.output<typeof ollamaTag>

/** Models that one Ollama is asked about at the same time: it may have a hundred. */
const ollamaAtOnce = 8

/** What each Ollama has told of its models. */
const ollamaTold = new WeakMap<Upstream, Map<string, FoundModel>>()

/** The digest changes with the model, and with what is set for it. */
const versionOf = ({ name, digest }: OllamaTag): string => `${name} ${digest}`

/** Ollama tells what a model can do only by itself. */
const ofOllama: FindsModels = async (upstream, headers, signal) => {
  const { models } = await ask(upstream, get('/api/tags'), headers, z.object({ models: z.array(ollamaTag) }), signal)
  const versions = new Set(models.filter(({ digest }) => digest != null).map(versionOf))
  const before = [...(ollamaTold.get(upstream) ?? [])].filter(([version]) => versions.has(version))
  const told = new Map(before)
  // What is told before the time is over is not asked again the next time.
  ollamaTold.set(upstream, told)
  const left = models.filter((one) => !told.has(versionOf(one))).values()
  const askOn = async (): Promise<void> => {
    for (const one of left) {
      const call = post('/api/show', { model: one.name })
      const shown = await askIfThere(upstream, call, headers, ollamaShow, signal)
      if (shown !== null) told.set(versionOf(one), shownModel(one, shown))
    }
  }
  await Promise.all(Array.from({ length: ollamaAtOnce }, askOn))
  return models.map((one) => told.get(versionOf(one)) ?? { ...unknown, id: one.name })
}

function shownModel({ name }: OllamaTag, shown: z.output<typeof ollamaShow>): FoundModel {
  const can = shown.capabilities ?? null
  const has = (capability: string) => can?.includes(capability) ?? null
  return {
    ...{ ...unknown, id: name, contextTokens: ollamaContext(shown) },
    inputs: can && inputsOf({ image: has('vision'), audio: has('audio'), video: false }),
    ...{ tools: has('tools'), thoughts: has('thinking') },
    embeds: has('embedding') === true && has('completion') === false,
  }
}

/** What is set for the model, or else the most that it can have. */
function ollamaContext({ parameters, model_info: info }: z.output<typeof ollamaShow>): number | null {
  const set = /^\s*num_ctx\s+(\d+)/m.exec(parameters ?? '')?.[1]
  const [, most] = Object.entries(info ?? {}).find(([key]) => key.endsWith('.context_length')) ?? []
  return set === undefined ? (tokens.parse(most) ?? null) : Number(set)
}

const studioModel = z.object({
  id,
  type: z.string(),
  max_context_length: tokens,
  loaded_context_length: tokens,
  capabilities: z.array(z.string()).nullish().catch(null),
})

const ofLmStudio: FindsModels = async (upstream, headers, signal) => {
  const { data } = await ask(upstream, get('/api/v0/models'), headers, list(studioModel), signal)
  return data.map(({ id, type, capabilities, ...model }) => ({
    ...{ ...unknown, id, contextTokens: model.loaded_context_length ?? model.max_context_length ?? null },
    inputs: type === 'vlm' ? ['image'] : [],
    ...{ tools: capabilities?.includes('tool_use') ?? null, embeds: type === 'embeddings' },
  }))
}

/** How each of the APIs that are OpenAI's lists its models. */
export const findsModels = {
  ...{ openai: listed, fireworks: listed, novita: listed, vllm: listed, sglang: ofSglang },
  ...{ 'llama-server': ofLlamaServer, ollama: ofOllama, 'lm-studio': ofLmStudio, oriel: listed },
} satisfies Record<string, FindsModels>
