import { z } from 'zod'
import type { Attachment, Preview, PreviewedImage } from '../../deployments/index.ts'
import { plainSettings } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { largeEndpoint } from '../answer-route.ts'
import { withBackend } from '../answering/answer.ts'
import { chatRequest, content } from '../chat/schema.ts'
import { readContent } from '../request/content.ts'
import { invalidValue } from '../request/validation.ts'
import { picture, size } from '../shapes/pictures.ts'

const previewRequest = z.looseObject({
  model: chatRequest.shape.model,
  content: content.nullish().describe('The content of one message. Its text has no effect.'),
  messages: chatRequest.shape.messages.nullish().describe('A chat, instead of content.'),
})

const inPixels = { x: z.int(), y: z.int(), ...size.shape }

const view = z.strictObject({
  kind: z
    .enum(['whole', 'overview', 'tiles'])
    .describe(
      '`whole`: the only view. Otherwise an `overview` is followed by the finer view that `tiles` are cut from.',
    ),
  ...size.shape,
  tiles: z
    .array(z.strictObject({ ...inPixels, tokens: z.int() }))
    .describe('What is encoded by itself, in pixels of the view, in the order of the prompt.'),
  image: z
    .string()
    .describe('A data: URL of the pixels before their colours are normalized: PNG, or JPEG if that would exceed 1 MB.'),
})

export const preview = z.strictObject({
  object: z.literal('preview'),
  model: z.string(),
  longest_edge: z
    .int()
    .describe('Pixels of the longest edge that the model can use. A longer image is shrunk to twice that first.'),
  tokens: z.int().describe('Of all pictures.'),
  pictures: z.array(
    picture.extend({
      format: z.string(),
      bytes: z.int().describe('Of the file.'),
      pages: z.int().describe('Pages or frames of the file, selected or not.'),
      detail: z.enum(['low', 'high', 'auto']),
      decoded: size.describe("Before the model's own scaling."),
      views: z.array(view),
    }),
  ),
})

type Picture = z.output<typeof preview>['pictures'][number]

/** `POST /preview`. The endpoint is Oriel's own. */
export const previewEndpoint = largeEndpoint({
  path: '/preview',
  tag: 'Counting',
  summary: 'See what the model sees of images: their sizes, tiles, tokens and pixels, without an answer',
  body: previewRequest,
  answer: preview,
  read({ model, content, messages }) {
    if ((content == null) === (messages == null))
      throw invalidValue('content', 'Send either content or messages: the content of one message, or a chat.')
    const attachments: Attachment[] = []
    if (content != null) readContent(content, 'content', attachments)
    for (const [turn, message] of (messages ?? []).entries())
      if (message.content != null) readContent(message.content, `messages[${turn}].content`, attachments)
    const given = content == null ? 'messages' : 'content'
    if (attachments.length === 0) throw invalidValue(given, 'There is no image to preview.')
    const parts = attachments.map(({ kind }, attachment) => ({ kind, attachment }))
    const params = { prompt: given, grammar: '', longest: '' }
    return [{ model, prompt: { kind: 'plain', parts }, attachments, settings: plainSettings, params }]
  },
  async pieces(body, { model, requests: [request], signal }) {
    if (request === undefined) throw new Error('nothing was read')
    const seen = await withBackend(model, request, signal, async (backend): Promise<Preview> => {
      if (backend.preview === undefined) throw notSupported(backend.info.id)
      return backend.preview(request, signal)
    })
    return piecesOf(body.model, seen)
  },
})

/** Picture by picture: the megabytes of all at once would stop the event loop, and take memory twice. */
function* piecesOf(model: string, { longestEdge, images }: Preview): Iterable<string> {
  const tokens = images.reduce((sum, image) => sum + image.tokens, 0)
  const head: Omit<z.output<typeof preview>, 'pictures'> = {
    ...{ object: 'preview', model, longest_edge: longestEdge, tokens },
  }
  yield `${JSON.stringify(head).slice(0, -1)},"pictures":[`
  for (const [at, image] of images.entries()) yield (at === 0 ? '' : ',') + JSON.stringify(pictureOf(image))
  yield ']}'
}

const pictureOf = ({ views, ...image }: PreviewedImage): Picture => ({
  ...image,
  views: views.map(({ file: { format, bytes }, tiles, width, height }, at) => ({
    kind: views.length === 1 ? ('whole' as const) : at === 0 ? ('overview' as const) : ('tiles' as const),
    ...{ width, height },
    tiles: [...tiles],
    image: `data:image/${format};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')}`,
  })),
})

const notSupported = (model: string): OrielError =>
  new OrielError('invalid', `The model ${model} does not say what it sees of images.`, {
    param: 'model',
    code: 'preview_not_supported',
  })
