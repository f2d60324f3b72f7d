import type { Backend, Deployments, PromptCount, PromptPiece } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Media } from '../../media/index.ts'
import { type ChatFormat, type ChatMessage, compileTemplate, type PromptPart } from '../../prompt/index.ts'
import type { AnswerRequest, ChatPrompt, PlainPrompt } from './request.ts'

/** What answering needs. */
export interface AnswerRooms {
  deployments: Deployments
  media: Media
}

/** A prompt that an engine can take. */
export interface PreparedPrompt {
  backend: Backend
  /** As it was laid out, pictures by their index. */
  parts: PlainPrompt['parts']
  pieces: readonly PromptPiece[]
  /** The pictures of each source: a document has one for each page. */
  pictures: readonly (readonly { width: number; height: number }[])[]
  media: MediaTimings
}

/** Time that the pictures of a request took, in ms. They come side by side, so each is that of the slowest. */
export interface MediaTimings {
  fetch: number
  /** Unpacking it, the wait for a decoder included. */
  decode: number
  /** All of it together. */
  media: number
}

/** Finds the model, loads the pictures and lays out the prompt. @throws OrielError */
export async function preparePrompt(
  { deployments, media }: AnswerRooms,
  request: AnswerRequest,
  signal: AbortSignal,
): Promise<PreparedPrompt> {
  const backend = deployments.find(request.model)
  const { sources } = request
  const first = sources[0]
  if (backend.model.vision === null && first !== undefined)
    throw new OrielError('invalid', `The model ${backend.card.id} takes no pictures.`, {
      param: first.param,
      code: 'image_not_supported',
    })
  const start = performance.now()
  const loaded = await media.load(sources, backend.model.vision?.longestEdge ?? 1, signal)
  const timings: MediaTimings = {
    fetch: Math.max(0, ...loaded.map(({ fetchMs }) => fetchMs)),
    decode: Math.max(0, ...loaded.map(({ decodeMs }) => decodeMs)),
    media: performance.now() - start,
  }

  const piecesOf = (parts: PlainPrompt['parts']): PromptPiece[] =>
    parts.flatMap((part): PromptPiece[] => {
      if (part.kind !== 'picture') return [part]
      const source = loaded[part.picture]
      if (source === undefined) throw new Error('the layout names a picture that there is not')
      const detail = sources[part.picture]?.detail ?? 'auto'
      return source.pictures.map(({ width, height, rgb, hash }) => ({
        kind: 'picture',
        picture: { width, height, rgb, hash, detail },
      }))
    })
  const { prompt } = request
  const parts =
    prompt.kind === 'plain'
      ? knownTokens(prompt, backend, request.params.prompt)
      : await layOut(prompt, backend, piecesOf)
  return { backend, parts, pieces: piecesOf(parts), pictures: loaded.map(({ pictures }) => pictures), media: timings }
}

const formats = new WeakMap<Backend, ChatFormat>()

export function formatOf(backend: Backend): ChatFormat {
  let format = formats.get(backend)
  if (format === undefined) {
    format = compileTemplate(backend.model)
    formats.set(backend, format)
  }
  return format
}

async function layOut(
  { messages, tools, calling, variables, longest }: ChatPrompt,
  backend: Backend,
  piecesOf: (parts: readonly PromptPart[]) => PromptPiece[],
): Promise<PromptPart[]> {
  const extras = { tools: calling.mode === 'none' ? [] : tools, variables }
  let kept = messages
  for (;;) {
    const parts = formatOf(backend).layout(kept, extras)
    if (longest === null) return parts
    const { promptTokens }: PromptCount = await backend.count(piecesOf(parts))
    if (promptTokens <= longest) return parts
    const fewer = withoutOldest(kept)
    if (fewer.length === kept.length)
      throw new OrielError(
        'invalid',
        `prompt_truncate_len is ${longest}, and the last message alone makes a prompt of ${promptTokens} tokens.`,
        { param: 'prompt_truncate_len', code: 'invalid_value' },
      )
    kept = fewer
  }
}

/** Without the oldest exchange: what a user said, and everything up to what the user said next. */
function withoutOldest(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const start = messages.findIndex(({ role }) => role !== 'system')
  const next = messages.findIndex(({ role }, index) => index > start && role === 'user')
  return start < 0 || next < 0 ? messages : [...messages.slice(0, start), ...messages.slice(next)]
}

function knownTokens({ parts }: PlainPrompt, { model }: Backend, param: string): PlainPrompt['parts'] {
  for (const part of parts) {
    const unknown = part.kind === 'tokens' ? part.tokens.find((token) => token >= model.vocabulary) : undefined
    if (unknown !== undefined)
      throw new OrielError(
        'invalid',
        `${param} names token ${unknown}, and this model's tokens are below ${model.vocabulary}.`,
        {
          param,
          code: 'invalid_value',
        },
      )
  }
  return parts
}
