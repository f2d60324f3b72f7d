import { OrielError } from '../../errors.ts'
import type { AnswerEndpoint, RequestContext } from '../answer-route.ts'
import { Pictures } from '../answering/pictures.ts'
import type { AnswerRequest, PlainPrompt } from '../answering/request.ts'
import { errorBody } from '../errors.ts'
import { dataFraming } from '../sse.ts'
import { type CompletionsRequest, completionsRequest } from './completions-schema.ts'
import { completion, completionChunks } from './completions-shapes.ts'
import { dryRun } from './dry-run.ts'
import { maxTokensOf, settingsOf, topLogprobsOf } from './parameters.ts'

/** `POST /v1/completions` */
export const completionsEndpoint: AnswerEndpoint<typeof completionsRequest> = {
  schema: completionsRequest,
  read: readCompletions,
  streams: ({ stream }) => stream ?? false,
  whole: completion,
  events: completionChunks,
  framing: ({ dialect, requestId }) => dataFraming((error) => errorBody(error, dialect, requestId)),
  dryRun: { wanted: (body) => body.dry_run ?? false, counted: dryRun },
}

/** What stands for a picture in a prompt; the model's own marker takes its place. */
const marker = '<image>'

/** What OpenAI's API gives where nobody says how long a completion may be. */
const usualTokens = 16

/** One request for each prompt. */
export function readCompletions(body: CompletionsRequest, context: RequestContext): AnswerRequest[] {
  const prompts = promptsOf(body)
  const images = imagesOf(body, prompts.length)
  const maxTokens = maxTokensOf(['max_tokens', body.max_tokens], ['max_completion_tokens', body.max_completion_tokens])
  const topLogprobs = topLogprobsOf(body)
  const settings = {
    ...settingsOf(body, context),
    maxTokens: maxTokens ?? (context.dialect === 'openai' ? usualTokens : null),
    n: choicesOf(body),
    topLogprobs: topLogprobs ?? (needsLogprobs(body) ? 0 : null),
    promptLogprobs: (body.echo ?? false) && topLogprobs !== null,
  }
  return prompts.map((prompt, index) => {
    const pictures = new Pictures()
    const [place, listed] = prompts.length > 1 ? [`prompt[${index}]`, `images[${index}]`] : ['prompt', 'images']
    return {
      model: body.model,
      prompt: readPrompt(prompt, images[index] ?? [], { place, listed, pictures }),
      attachments: pictures.sources,
      settings,
      params: { prompt: place, grammar: 'response_format', longest: 'prompt_truncate_len' },
    }
  })
}

type Prompt = string | readonly number[]

/** Each of them takes a place in the engine's queue. */
const mostPrompts = 128

function promptsOf({ prompt }: CompletionsRequest): readonly Prompt[] {
  if (typeof prompt === 'string') return [prompt]
  if (isNumbers(prompt)) return [prompt]
  if (prompt.length > mostPrompts)
    throw new OrielError(
      'invalid',
      `prompt has ${prompt.length} prompts, and ${mostPrompts} are allowed in one request.`,
      {
        param: 'prompt',
        code: 'invalid_value',
      },
    )
  return prompt
}

const isNumbers = (prompt: readonly unknown[]): prompt is number[] => typeof prompt[0] === 'number'

/** The pictures of each prompt. */
function imagesOf({ images }: CompletionsRequest, prompts: number): readonly (readonly string[])[] {
  if (images == null || images.length === 0) return []
  const lists = images.flatMap((image) => (typeof image === 'string' ? [] : [image]))
  if (lists.length === images.length && images.length === prompts) return lists
  const flat = images.flatMap((image) => (typeof image === 'string' ? [image] : []))
  if (flat.length === images.length && prompts === 1) return [flat]
  const found = lists.length > 0 ? `${lists.length} lists` : 'a list of pictures'
  throw new OrielError('invalid', `images has ${found}, and there are ${prompts} prompts: send one list for each.`, {
    param: 'images',
    code: 'invalid_value',
  })
}

function readPrompt(
  prompt: Prompt,
  images: readonly string[],
  { place, listed, pictures }: { place: string; listed: string; pictures: Pictures },
): PlainPrompt {
  if (typeof prompt !== 'string') {
    if (images.length > 0)
      throw new OrielError(
        'invalid',
        `${listed} has pictures, and ${place} is tokens: only text can say where they go.`,
        {
          param: listed,
          code: 'invalid_value',
        },
      )
    return { kind: 'plain', parts: [{ kind: 'tokens', tokens: prompt }] }
  }
  const texts = prompt.split(marker)
  if (texts.length - 1 !== images.length)
    throw new OrielError(
      'invalid',
      `${place} has ${marker} ${times(texts.length - 1)}, and ${listed} has ${images.length} ${images.length === 1 ? 'picture' : 'pictures'}: there must be one for each.`,
      { param: listed, code: 'image_count_mismatch' },
    )
  const parts = texts.flatMap((text, index) => {
    const image = images[index]
    // Whoever lays out a prompt writes the model's control tokens too.
    const words = text === '' ? [] : [{ kind: 'text' as const, text, special: true }]
    return image === undefined ? words : [...words, pictures.add(image, `${listed}[${index}]`)]
  })
  return { kind: 'plain', parts }
}

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`)

function choicesOf({ n, best_of: best, stream }: CompletionsRequest): number {
  const wanted = n ?? 1
  if (best == null) return wanted
  if (best < wanted)
    throw new OrielError('invalid', `best_of is ${best}, and n is ${wanted}: best_of must be at least n.`, {
      param: 'best_of',
      code: 'invalid_value',
    })
  if (stream && best > wanted)
    throw new OrielError('invalid', 'best_of cannot be streamed: which answers are best is known at their end.', {
      param: 'best_of',
      code: 'invalid_value',
    })
  return best
}

/** Without them nobody knows which answers are best. */
const needsLogprobs = ({ best_of: best, n }: CompletionsRequest): boolean => best != null && best > (n ?? 1)
