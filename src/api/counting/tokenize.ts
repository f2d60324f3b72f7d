import { z } from 'zod'
import { largeEndpoint } from '../answer-route.ts'
import { countPrompts, type PromptCounts } from '../answering/answer.ts'
import type { AnswerRequest } from '../answering/request.ts'
import { readChat } from '../chat/read.ts'
import { chatRequest } from '../chat/schema.ts'
import { readCompletions } from '../completions/read.ts'
import { invalidValue } from '../request/validation.ts'
import { promptIds } from '../shapes/raw-output.ts'
import { tokenization } from './answer.ts'

/** The parameters of a chat that change its prompt. */
const chat = chatRequest.pick({
  model: true,
  tools: true,
  tool_choice: true,
  parallel_tool_calls: true,
  functions: true,
  function_call: true,
  reasoning_effort: true,
  enable_thinking: true,
  thinking: true,
  chat_template_kwargs: true,
  mm_processor_kwargs: true,
  continue_final_message: true,
  add_generation_prompt: true,
  prompt_truncate_len: true,
})

/** A text with images in place of its `<image>` markers, or a chat. */
const tokenizeRequest = z.looseObject({
  ...chat.shape,
  prompt: z.string().nullish(),
  images: z.array(z.string()).nullish(),
  messages: chatRequest.shape.messages.nullish(),
})

type TokenizeRequest = z.output<typeof tokenizeRequest>

/** `POST /tokenize`. The endpoint is Oriel's own. */
export const tokenizeEndpoint = largeEndpoint({
  path: '/tokenize',
  tag: 'Counting',
  summary: 'Count the tokens of a text or a chat, in total and part by part, without an answer',
  body: tokenizeRequest,
  answer: tokenization,
  read(body, context) {
    const { prompt, images, messages, ...rest } = body
    if ((prompt == null) === (messages == null))
      throw invalidValue('prompt', 'Send either prompt or messages: a text to count, or a chat.')
    if (messages != null) return [readChat({ ...rest, messages }, context)]
    return readCompletions({ model: rest.model, prompt: prompt ?? '', images }, context)
  },
  async pieces(body, { model, requests, signal }) {
    const [counted] = await countPrompts(model, requests, signal)
    if (counted === undefined) throw new Error('nothing was counted')
    const { promptTokens, tokens } = counted
    const head: Omit<z.output<typeof tokenization>, 'tokens' | 'token_strs'> = {
      object: 'tokenization',
      model: body.model,
      count: promptTokens,
      max_model_len: counted.model.contextTokens,
      parts: await partsOf(body, counted),
    }
    return piecesOf(head, tokens)
  },
})

/** Tokens of a piece of the answer. */
const tokensAtOnce = 10_000

type Tokens = PromptCounts[number]['tokens']

/** A text may have millions of tokens. */
function* piecesOf(head: object, tokens: Tokens): Iterable<string> {
  const listOf = function* (of: (some: Tokens) => unknown[]): Iterable<string> {
    for (let at = 0; at < tokens.length; at += tokensAtOnce)
      yield (at === 0 ? '' : ',') + JSON.stringify(of(tokens.slice(at, at + tokensAtOnce))).slice(1, -1)
  }
  yield `${JSON.stringify(head).slice(0, -1)},"tokens":[`
  yield* listOf(promptIds)
  yield '],"token_strs":['
  yield* listOf((some) => some.map((token) => (token === null ? null : textOf(token.bytes))))
  yield ']}'
}

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')

/** Tokens of each part of the request. A document has several images. */
async function partsOf({ messages }: TokenizeRequest, { request, parts }: PromptCounts[number]) {
  const params = paramsOf(request, messages)
  return (await parts()).map((part, index) => {
    const { kind: type, tokens } = part
    if (part.kind === 'text') return { type, param: params[index] ?? '', tokens }
    const own = { type, param: request.attachments[part.attachment]?.param ?? '', tokens }
    if (part.kind === 'image') return { ...own, pictures: [...part.images] }
    return part.kind === 'video' ? { ...own, frames: part.frames } : { ...own, seconds: part.seconds }
  })
}

function paramsOf({ prompt }: AnswerRequest, messages: TokenizeRequest['messages']): string[] {
  if (prompt.kind === 'plain') return prompt.parts.map(() => 'prompt')
  return prompt.messages.flatMap(({ content }, turn) =>
    content.map((_, index) => {
      const place = typeof messages?.[turn]?.content === 'string' ? '' : `[${index}]`
      return `messages[${turn}].content${place}`
    }),
  )
}
