import type { Backend, Deployments, PromptPiece } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Media } from '../../media/index.ts'
import { type ChatFormat, type ChatMessage, compileTemplate, type PromptPart } from '../../prompt/index.ts'
import type { AnswerRequest, ChatPrompt, PlainPrompt, Settings } from './request.ts'

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

/**
 * Finds the model, which stays until the signal aborts, loads the pictures and lays out the prompt.
 * @throws OrielError
 */
export async function preparePrompt(
  { deployments, media }: AnswerRooms,
  request: AnswerRequest,
  signal: AbortSignal,
): Promise<PreparedPrompt> {
  const backend = await deployments.find(request.model, signal)
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
      return source.images.map((pixels) => {
        const { width, height, hash } = pixels
        return { kind: 'picture', picture: { width, height, pixels, hash, detail } }
      })
    })
  const { prompt } = request
  const parts =
    prompt.kind === 'plain'
      ? knownTokens(prompt, backend, request.params.prompt)
      : await layOut(prompt, request.settings, backend, piecesOf)
  return { backend, parts, pieces: piecesOf(parts), pictures: loaded.map(({ images }) => images), media: timings }
}

const formats = new WeakMap<Backend, ChatFormat>()

function formatOf(backend: Backend): ChatFormat {
  let format = formats.get(backend)
  if (format === undefined) {
    format = compileTemplate(backend.model)
    formats.set(backend, format)
  }
  return format
}

async function layOut(
  { messages, tools, calling, variables, continues, longest }: ChatPrompt,
  { maxTokens }: Settings,
  backend: Backend,
  piecesOf: (parts: readonly PromptPart[]) => PromptPiece[],
): Promise<PromptPart[]> {
  const extras = { tools: calling.mode === 'none' ? [] : tools, variables, continues }
  const ordered = (kept: readonly ChatMessage[]) => (backend.card.picturesFirst ? kept.map(withPicturesFirst) : kept)
  const partsOf = (kept: readonly ChatMessage[]): PromptPart[] => formatOf(backend).layout(ordered(kept), extras)
  const whole = partsOf(messages)
  if (longest === null) return whole
  const { contextTokens } = backend.model
  const room = Math.min(maxTokens ?? contextTokens, Math.floor(contextTokens * mostRoom))
  const wished = longest === 'context' ? contextTokens - room : longest
  const tokensOf = async (parts: readonly PromptPart[]) => (await backend.count(piecesOf(parts))).promptTokens
  if ((await tokensOf(whole)) <= wished) return whole

  // The most turns that fit, by halving: a chat may have thousands of them.
  const starts = laterTurns(messages)
  const first = starts[0] ?? 0
  const from = (start: number) => partsOf([...messages.slice(0, first).filter(isSystem), ...messages.slice(start)])
  let best: PromptPart[] | undefined
  let [low, high] = [0, starts.length]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const parts = from(starts[middle] ?? 0)
    if ((await tokensOf(parts)) <= wished) [best, high] = [parts, middle]
    else low = middle + 1
  }
  if (best !== undefined) return best
  const last = from(starts.at(-1) ?? 0)
  const count = await tokensOf(last)
  // Without the room that was wished the answer is shorter.
  if (longest === 'context' && count < contextTokens) return last
  const [param, bound, code] =
    longest === 'context'
      ? ['truncation', `"auto", the model's context holds ${contextTokens} tokens`, 'context_length_exceeded']
      : ['prompt_truncate_len', longest, 'invalid_value']
  throw new OrielError(
    'invalid',
    `${param} is ${bound}, and the last message alone makes a prompt of ${count} tokens.`,
    { param, code },
  )
}

/** Of the context, what is kept free for an answer that may be longer. */
const mostRoom = 1 / 4

const isSystem = ({ role }: ChatMessage): boolean => role === 'system'

/** Where a chat may begin instead of at its start: at what a user said, the first exchange left out. */
function laterTurns(messages: readonly ChatMessage[]): number[] {
  const start = messages.findIndex((message) => !isSystem(message))
  return messages.flatMap(({ role }, index) => (index > start && role === 'user' ? [index] : []))
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

const withPicturesFirst = (message: ChatMessage): ChatMessage => ({
  ...message,
  content: message.content.toSorted((a, b) => Number(a.kind === 'text') - Number(b.kind === 'text')),
})
