import { z } from 'zod'
import type { Backend, PromptPiece } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { countEndpoint } from '../answer-route.ts'
import type { PromptCounts } from '../answering/several.ts'
import { readChat } from '../chat/read.ts'
import { chatRequest } from '../chat/schema.ts'
import { readCompletions } from '../completions/read.ts'
import { tokenization } from './answer.ts'

/** All that changes what a chat's prompt is. */
const chat = chatRequest.pick({
  model: true,
  tools: true,
  tool_choice: true,
  parallel_tool_calls: true,
  reasoning_effort: true,
  enable_thinking: true,
  thinking: true,
  chat_template_kwargs: true,
  continue_final_message: true,
  add_generation_prompt: true,
  prompt_truncate_len: true,
})

/** A text, with pictures at its `<image>`, or a chat. */
const tokenizeRequest = z.looseObject({
  ...chat.shape,
  prompt: z.string().nullish(),
  images: z.array(z.string()).nullish(),
  messages: chatRequest.shape.messages.nullish(),
})

type TokenizeRequest = z.output<typeof tokenizeRequest>

/** `POST /v1/tokenize`: what a prompt costs, token by token and part by part, without an answer. Ours. */
export const tokenizeEndpoint = countEndpoint({
  path: '/tokenize',
  tag: 'Counting',
  summary: 'Count the tokens of a text or a chat, in total and part by part, without an answer',
  body: tokenizeRequest,
  answer: tokenization,
  read(body, context) {
    const { prompt, images, messages, ...rest } = body
    if ((prompt == null) === (messages == null))
      throw new OrielError('invalid', 'Either prompt or messages must be there: a text to count, or a chat.', {
        param: 'prompt',
        code: 'invalid_value',
      })
    if (messages != null) return [readChat({ ...rest, messages }, context)]
    return readCompletions({ model: rest.model, prompt: prompt ?? '', images }, context)
  },
  async counted(body, prompts) {
    const [counted] = prompts
    if (counted === undefined) throw new Error('nothing was counted')
    const { backend, promptTokens, tokens } = counted
    return {
      object: 'tokenization' as const,
      model: body.model,
      count: promptTokens,
      max_model_len: backend.model.contextTokens,
      parts: await partsOf(body, counted),
      // A picture's places have no token of their own.
      tokens: tokens.map((token) => token?.id ?? -1),
      token_strs: tokens.map((token) => (token === null ? null : Buffer.from(token.bytes).toString('utf8'))),
    }
  },
})

interface Part {
  type: 'text' | 'image'
  param: string
  tokens: number
  /** Pictures of this part: a document has one for each page. */
  pictures?: { width: number; height: number; tokens: number }[]
}

/**
 * Tokens of each part of the request. Those of a text are its own: beside others some may come together. What the model's
 * format puts around all of them is in none.
 */
async function partsOf(body: TokenizeRequest, counted: PromptCounts[number]): Promise<Part[]> {
  const { backend, pictures, imageTokens } = counted
  const around = (await backend.count([])).promptTokens
  let picturesBefore = 0
  const image = (source: number, param: string): Part => {
    const own = (pictures[source] ?? []).map(({ width, height }, index) => ({
      width,
      height,
      tokens: imageTokens[picturesBefore + index] ?? 0,
    }))
    picturesBefore += own.length
    return { type: 'image', param, tokens: own.reduce((sum, { tokens }) => sum + tokens, 0), pictures: own }
  }
  const parts = requestParts(body, counted).map(({ param, piece }) =>
    typeof piece === 'number' ? image(piece, param) : countText(backend, piece, param, around),
  )
  return Promise.all(parts)
}

async function countText(backend: Backend, piece: PromptPiece, param: string, around: number): Promise<Part> {
  return { type: 'text', param, tokens: (await backend.count([piece])).promptTokens - around }
}

/** A text, or the number of a picture's source. */
interface RequestPart {
  param: string
  piece: PromptPiece | number
}

function requestParts({ messages }: TokenizeRequest, { request, parts }: PromptCounts[number]): RequestPart[] {
  const { prompt, sources } = request
  if (prompt.kind === 'plain')
    return parts.map((part) =>
      part.kind === 'picture'
        ? { param: sources[part.picture]?.param ?? '', piece: part.picture }
        : { param: 'prompt', piece: part },
    )
  return prompt.messages.flatMap(({ content }, turn) =>
    content.map((part, index): RequestPart => {
      if (part.kind === 'picture') return { param: sources[part.picture]?.param ?? '', piece: part.picture }
      const place = typeof messages?.[turn]?.content === 'string' ? '' : `[${index}]`
      return { param: `messages[${turn}].content${place}`, piece: { ...part, special: false } }
    }),
  )
}
