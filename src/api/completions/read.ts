import { kindOfFile } from '../../attachments.ts'
import type { Attachment, PlainPrompt } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type AnswerRequest, attach } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { formatOf, maxTokensOf, settingsOf, topLogprobsOf } from '../request/parameters.ts'
import { invalidValue } from '../request/validation.ts'
import type { CompletionsRequest } from './schema.ts'

/** Marks the place of an image in a prompt. It is replaced by the model's own marker. */
const marker = '<image>'

/** Many more than images are allowed. */
const mostMarkers = 1000

/** One request for each prompt. @throws OrielError `invalid` */
export function readCompletions(body: CompletionsRequest, context: RequestContext): AnswerRequest[] {
  const prompts = promptsOf(body)
  const images = imagesOf(body, prompts.length)
  const topLogprobs = topLogprobsOf(body)
  const { param: format, grammar } = formatOf(body)
  if (body.prompt_truncate_len) context.ignore('prompt_truncate_len', 'has no effect on a prompt that has no turns')
  const settings = {
    ...settingsOf(body, grammar, context),
    maxTokens: maxTokensOf(body, context.dialect.defaults.completionTokens),
    n: choicesOf(body),
    topLogprobs: topLogprobs ?? (needsLogprobs(body) ? 0 : null),
    promptLogprobs: (body.echo ?? false) && topLogprobs !== null,
  }
  return prompts.map((prompt, index) => {
    const attachments: Attachment[] = []
    const [place, listed] = prompts.length > 1 ? [`prompt[${index}]`, `images[${index}]`] : ['prompt', 'images']
    return {
      model: body.model,
      prompt: readPrompt(prompt, images[index] ?? [], { place, listed, attachments }),
      attachments,
      settings,
      params: {
        prompt: place,
        grammar: format,
        longest: 'prompt_truncate_len',
        ...(body.best_of == null ? {} : { n: 'best_of' }),
      },
    }
  })
}

type Prompt = string | readonly number[]

/** Each prompt takes a place in the engine's queue. */
const maxPrompts = 128

function promptsOf({ prompt }: CompletionsRequest): readonly Prompt[] {
  if (typeof prompt === 'string') return [prompt]
  if (isNumbers(prompt)) return [prompt]
  if (prompt.length > maxPrompts)
    throw invalidValue('prompt', `prompt has ${prompt.length} prompts; the limit is ${maxPrompts}.`)
  return prompt
}

const isNumbers = (prompt: readonly unknown[]): prompt is number[] => typeof prompt[0] === 'number'

function imagesOf({ images }: CompletionsRequest, prompts: number): readonly (readonly string[])[] {
  if (images == null || images.length === 0) return []
  const lists = images.flatMap((image) => (typeof image === 'string' ? [] : [image]))
  if (lists.length === images.length && images.length === prompts) return lists
  const flat = images.flatMap((image) => (typeof image === 'string' ? [image] : []))
  if (flat.length === images.length && prompts === 1) return [flat]
  const found = lists.length > 0 ? `${lists.length} lists` : 'one list of images'
  throw invalidValue('images', `images has ${found} for ${prompts} prompts: send one list for each prompt.`)
}

function readPrompt(
  prompt: Prompt,
  images: readonly string[],
  { place, listed, attachments }: { place: string; listed: string; attachments: Attachment[] },
): PlainPrompt {
  if (typeof prompt !== 'string') {
    if (images.length > 0)
      throw invalidValue(
        listed,
        `${listed} has images, but ${place} is token ids: images need a text prompt that marks their places.`,
      )
    return { kind: 'plain', parts: [{ kind: 'tokens', tokens: prompt }] }
  }
  // No further than to the first marker too many.
  const texts = prompt.split(marker, mostMarkers + 2)
  if (texts.length - 1 > mostMarkers)
    throw invalidValue(place, `${place} has more than ${mostMarkers} ${marker} markers; the limit is ${mostMarkers}.`)
  if (texts.length - 1 !== images.length)
    throw new OrielError(
      'invalid',
      `${place} has ${count(texts.length - 1, `${marker} marker`)}, but ${listed} has ${count(images.length, 'image')}: there must be one image for each marker.`,
      { param: listed, code: 'image_count_mismatch' },
    )
  const parts = texts.flatMap((text, index) => {
    const image = images[index]
    // The client writes the whole prompt, control tokens included.
    const words = text === '' ? [] : [{ kind: 'text' as const, text, special: true }]
    return image === undefined
      ? words
      : [
          ...words,
          attach(attachments, { kind: kindOfFile(image), url: image, detail: 'auto', param: `${listed}[${index}]` }),
        ]
  })
  return { kind: 'plain', parts }
}

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

function choicesOf({ n, best_of: best, stream }: CompletionsRequest): number {
  const wanted = n ?? 1
  if (best == null) return wanted
  if (best < wanted) throw invalidValue('best_of', `best_of must be at least n; found best_of ${best} and n ${wanted}.`)
  if (stream && best > wanted)
    throw invalidValue('best_of', 'best_of cannot be streamed: the best answers are known only when all are complete.')
  return best
}

/** best_of ranks answers by log probability. */
const needsLogprobs = ({ best_of: best, n }: CompletionsRequest): boolean => best != null && best > (n ?? 1)
