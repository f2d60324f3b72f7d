import type { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { type ChatMessage, endsInAnswer } from '../../prompt/index.ts'
import type { AnswerEndpoint, RequestContext } from '../answer-route.ts'
import { Pictures } from '../answering/pictures.ts'
import type { AnswerRequest, ChatPrompt } from '../answering/request.ts'
import { errorBody } from '../errors.ts'
import { dataFraming } from '../sse.ts'
import { type ChatRequest, chatRequest } from './chat-schema.ts'
import { chunks, completion } from './chat-shapes.ts'
import { readMessages } from './content.ts'
import { dryRun } from './dry-run.ts'
import { maxTokensOf, settingsOf, topLogprobsOf } from './parameters.ts'
import { readTools, refuseBoth } from './tools.ts'

/** `POST /v1/chat/completions` */
export const chatEndpoint: AnswerEndpoint<typeof chatRequest> = {
  schema: chatRequest,
  read: (body, context) => [readChat(body, context)],
  streams: ({ stream }) => stream ?? false,
  whole: completion,
  events: chunks,
  framing: ({ dialect, requestId }) => dataFraming((error) => errorBody(error, dialect, requestId)),
  dryRun: { wanted: (body) => body.dry_run ?? false, counted: dryRun },
}

export function readChat(body: z.output<typeof chatRequest>, context: RequestContext): AnswerRequest {
  const pictures = new Pictures()
  const messages = readMessages(body.messages, pictures)
  const { tools, calling } = readTools(body)
  const settings = settingsOf(body, context)
  refuseBoth(calling, settings, 'response_format')
  return {
    model: body.model,
    prompt: {
      kind: 'chat',
      messages,
      tools,
      calling,
      variables: variablesOf(body),
      splitReasoning: body.separate_reasoning ?? true,
      continues: continuesOf(body, messages),
      longest: body.prompt_truncate_len ?? null,
    },
    attachments: pictures.sources,
    settings: {
      ...settings,
      maxTokens: maxTokensOf(['max_tokens', body.max_tokens], ['max_completion_tokens', body.max_completion_tokens]),
      topLogprobs: topLogprobsOf(body),
    },
    params: { prompt: 'messages', grammar: 'response_format', longest: 'prompt_truncate_len' },
  }
}

/** vLLM's two switches: the message that is gone on with has no other behind it. */
function continuesOf(
  { continue_final_message: continues, add_generation_prompt: begins }: ChatRequest,
  messages: readonly ChatMessage[],
): boolean {
  const param = continues == null ? 'add_generation_prompt' : 'continue_final_message'
  const refuse = (why: string) => new OrielError('invalid', why, { param, code: 'invalid_value' })
  if (continues != null && continues === begins)
    throw refuse(`continue_final_message and add_generation_prompt are both ${begins}: an answer does either.`)
  if (!(continues ?? begins === false)) return false
  if (!endsInAnswer(messages))
    throw refuse(`${param} is ${continues ?? begins}, and the last message is no text of an assistant to go on with.`)
  return true
}

/** How a model is told whether and how long to think is its template's business. */
function variablesOf(body: ChatRequest): ChatPrompt['variables'] {
  const { reasoning_effort: effort, thinking, enable_thinking } = body
  if (effort != null && thinking != null)
    throw new OrielError('invalid', 'reasoning_effort and thinking both say how long to think: send one of them.', {
      param: 'thinking',
      code: 'invalid_value',
    })
  const asked = thinking == null ? enable_thinking : thinking.type === 'enabled'
  const thinks = asked ?? (effort === 'none' || effort === false ? false : null)
  return {
    ...(effort == null ? {} : { reasoning_effort: effort }),
    ...(thinks === null ? {} : { enable_thinking: thinks }),
    ...body.chat_template_kwargs,
  }
}
