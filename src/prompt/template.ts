import { Template } from '@huggingface/jinja'
import type { AttachmentKind } from '../attachments.ts'
import { OrielError } from '../errors.ts'
import { inTime } from './in-time.ts'
import { type AttachmentTokens, createMarks, forgeable, type Marks } from './marks.ts'
import type { AttachmentPart, ChatMessage, ContentPart, PromptPart, Tool } from './messages.ts'
import { callsInWords, shortIds, templateCalls, templateTool, toolsInWords } from './tools.ts'

/** What a model's chat template needs to know of the model. */
export interface TemplateModel {
  /** Jinja, as in the GGUF; null if it has none. */
  chatTemplate: string | null
  bosToken: string
  eosToken: string
  /** Texts of all control tokens. */
  controlTokens: readonly string[]
}

/** The format in which a model reads chats. */
export interface ChatFormat {
  layout(messages: readonly ChatMessage[], extras?: ChatExtras): PromptPart[]
  /** Whether the template supports tools. Without it they are described in the text. */
  readonly tools: boolean
  /** Whether the template knows thoughts. */
  readonly thoughts: boolean
}

export interface ChatExtras {
  tools?: readonly Tool[]
  /** Further variables of the template: `enable_thinking`, `reasoning_effort`. */
  variables?: Readonly<Record<string, unknown>>
  /** Whether the answer continues the last message (see `endsInAnswer`) instead of beginning one of its own. */
  continues?: boolean
  /** Whether nothing follows the last message: no answer begins. */
  isOver?: boolean
}

/** ChatML, for models without a template of their own. */
const chatml =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

/**
 * Compiles a model's template.
 *
 * Templates differ in how they take an attachment: as a part of a list, for which they write a token of their model, or
 * not at all, so that a mark within the text must stand for it. Trial renderings find the forms that this template takes;
 * a chat is laid out in the first form that keeps every attachment. The engine adds the tokens that a model
 * requires around an image. Control tokens that a client writes out (`<|im_end|>`) stay plain text, in tools and their results too.
 * @throws OrielError `internal` for a broken template, and for one whose trials do not end; the layout throws `invalid`
 * (param `prompt`) when the template refuses the chat, would lose an attachment, or cannot continue its last message
 */
export const compileTemplate = (model: TemplateModel): ChatFormat => inTime(() => compiled(model))

function compiled(model: TemplateModel): ChatFormat {
  const jinja = model.chatTemplate ?? chatml
  const template = parseTemplate(jinja)
  const renderAll: RenderAll = (messages, extras) => renderWith(template, model, messages, extras)
  const render: Render = (messages) => renderAll(messages, {})
  const textForm = takesText(render, asString) || !takesText(render, asTexts) ? asString : asTexts
  const forms = workingForms(render)
  const toHide = forgeable([...model.controlTokens, leak, end, ...forms.flatMap(({ tokens }) => Object.values(tokens))])
  const knowsTools = takesTools(renderAll, textForm)
  const knowsCalls = takesCalls(renderAll, textForm)
  const wantsShortIds = /length\s*!=\s*9\b/.test(jinja)

  const layout: ChatFormat['layout'] = (messages, extras = {}) => {
    const { tools = [], variables = {}, continues = false, isOver = false } = extras
    const worded = !knowsTools ? toolsInWords(messages, tools) : knowsCalls ? messages : callsInWords(messages)
    const merged = (wantsShortIds ? shortIds(worded) : worded).map(mergeTexts)
    const attachments = merged.flatMap(({ content }) => content.filter((part) => part.kind !== 'text'))
    let refusal: unknown
    for (const form of forms) {
      const marks = createMarks(toHide)
      const contentOf = (content: readonly ContentPart[], ends: boolean): Content => {
        const written = (content.every(({ kind }) => kind === 'text') ? textForm : form).write(content, marks)
        return ends ? ended(written) : written
      }
      const written = merged.map((message, turn) => ({
        role: message.role,
        content: contentOf(message.content, continues && turn === merged.length - 1),
        ...plainTexts(templateCalls(message), marks),
      }))
      const given = {
        ...plainTexts(variables, marks),
        add_generation_prompt: !continues && !isOver,
        ...(knowsTools && tools.length > 0
          ? { tools: tools.map((tool) => plainTexts(templateTool(tool), marks)) }
          : {}),
      }
      try {
        const rendered = continues ? upToEnd(renderAll(written, given)) : renderAll(written, given)
        const parts = rendered.includes(leak) ? undefined : marks.cut(rendered, attachments, form.tokens)
        if (parts !== undefined) return parts
      } catch (error) {
        refusal ??= error
      }
    }
    throw (
      refusal ??
      new OrielError('invalid', "The model's chat template does not accept an image in one of these messages.", {
        param: 'prompt',
        code: 'image_not_supported',
      })
    )
  }
  return { layout, tools: knowsTools, thoughts: /enable_thinking|reasoning_(content|effort)|<think>/.test(jinja) }
}

interface RenderedMessage {
  role: string
  content: Content
  [more: string]: unknown
}

type Render = (messages: readonly RenderedMessage[]) => string
type RenderAll = (messages: readonly RenderedMessage[], extras: object) => string

/** A turn's content as a template reads it: a text, or a list of parts. */
type Content = string | readonly { text?: string; [more: string]: unknown }[]

/** A form in which a template takes the content of a turn. */
interface Form {
  write(content: readonly ContentPart[], marks: Marks): Content
  /** What the template itself writes for an attachment of each kind in this form. */
  tokens: AttachmentTokens
}

/** A key in every part of a list. Where it shows in the result, the template wrote the list out as if it were text. */
const leak = '\ue0f2'

/** Marks the end of the text that the answer continues. What a template writes to close the turn comes after it. */
const end = '\ue0f3'

function ended(content: Content): Content {
  if (typeof content === 'string') return content + end
  const last = content.at(-1)
  return [...content.slice(0, -1), { ...last, text: `${last?.text ?? ''}${end}` }]
}

function upToEnd(rendered: string): string {
  const [before, behind, ...more] = rendered.split(end)
  if (before !== undefined && behind !== undefined && more.length === 0) return before
  throw new OrielError('invalid', "The model's chat template cannot continue an assistant message.", {
    param: 'prompt',
    code: 'invalid_value',
  })
}

const asString: Form = {
  write: (content, marks) =>
    content.map((part) => (part.kind === 'text' ? marks.plain(part.text) : marks.attachment(part))).join(''),
  tokens: {},
}

const asMark = (part: AttachmentPart, marks: Marks) => ({ type: 'text', text: marks.attachment(part) })

const asTexts: Form = asParts(asMark)

function asParts(
  write: (part: AttachmentPart, marks: Marks) => Record<string, unknown>,
  tokens: AttachmentTokens = {},
): Form {
  return {
    write: (content, marks) =>
      content.map((part) => ({
        ...(part.kind === 'text' ? { type: 'text', text: marks.plain(part.text) } : write(part, marks)),
        [leak]: '',
      })),
    tokens,
  }
}

/** The parts that templates use for attachments. */
const nativeParts = {
  image: [{ type: 'image' }, { type: 'image_url', image_url: { url: '' } }],
  audio: [{ type: 'audio' }, { type: 'input_audio', input_audio: { data: '', format: '' } }],
  video: [{ type: 'video' }, { type: 'video_url', video_url: { url: '' } }],
} as const satisfies Record<AttachmentKind, readonly Record<string, unknown>[]>

/** The forms that keep attachments in this template, the model's own first. */
function workingForms(render: Render): Form[] {
  const kinds = Object.keys(nativeParts) as AttachmentKind[]
  const working = kinds.map((kind) => ({
    kind,
    ways: nativeParts[kind].flatMap((part) => {
      const token = tokenOf(render, part)
      return token === undefined ? [] : [{ part, token }]
    }),
  }))
  const most = Math.max(...working.map(({ ways }) => ways.length))
  const native = Array.from({ length: most }, (_, index) => {
    const chosen = new Map(working.map(({ kind, ways }) => [kind, ways[index] ?? ways.at(-1)]))
    const tokens = Object.fromEntries([...chosen].flatMap(([kind, way]) => (way ? [[kind, way.token]] : [])))
    return asParts((part, marks) => chosen.get(part.kind)?.part ?? asMark(part, marks), tokens)
  })
  return [...native, asTexts, asString]
}

/** What a template writes for an attachment: the same for each, between the texts around it. */
function tokenOf(render: Render, part: Record<string, unknown>): string | undefined {
  const [first, second, third] = ['orielfirst', 'orielsecond', 'orielthird'] as const
  const word = (text: string) => ({ type: 'text', text, [leak]: '' })
  const attachment = { ...part, [leak]: '' }
  return tried(undefined, () => {
    const content = [word(first), attachment, word(second), attachment, word(third)]
    const rendered = render([{ role: 'user', content }])
    const found = new RegExp(`${first}([^]*)${second}([^]*)${third}`).exec(rendered)
    const [before, after] = [found?.[1]?.trim(), found?.[2]?.trim()]
    return before === after && before !== '' && !rendered.includes(leak) ? before : undefined
  })
}

/** @param refused the result if the template refuses the trial messages */
function tried<T>(refused: T, trial: () => T): T {
  try {
    return trial()
  } catch {
    return refused
  }
}

const probe = 'orielprobe'

const textIn = (form: Form, text: string): Content => form.write([{ kind: 'text', text }], createMarks(forgeable([])))

/** Whether a template keeps text in this form: some take only lists, some only strings. */
const takesText = (render: Render, form: Form): boolean =>
  tried(false, () => {
    const rendered = render([{ role: 'user', content: textIn(form, probe) }])
    return rendered.includes(probe) && !rendered.includes(leak)
  })

const trialTool = (name: string) =>
  templateTool({ name, description: 'x', parameters: { type: 'object', properties: {} } })

/** Whether a template writes out the tools. */
const takesTools = (render: RenderAll, form: Form): boolean =>
  tried(false, () =>
    render([{ role: 'user', content: textIn(form, 'x') }], { tools: [trialTool(probe)] }).includes(probe),
  )

/**
 * Whether a template writes out what an assistant called. One that refuses the trial refuses real chats for the same reason,
 * with its own message.
 */
function takesCalls(render: RenderAll, form: Form): boolean {
  const calls = [{ id: 'orielcall', name: probe, arguments: '{}' }]
  const messages = [
    { role: 'user', content: textIn(form, 'x') },
    { role: 'assistant', content: textIn(form, ''), ...templateCalls({ role: 'assistant', content: [], calls }) },
    { role: 'tool', content: textIn(form, 'x'), tool_call_id: 'orielcall', name: probe },
  ]
  return tried(true, () => render(messages, { tools: [trialTool('x')] }).includes(probe))
}

/** The same value with all of its texts as plain text: a client wrote these too. */
function plainTexts<T>(value: T, marks: Marks): T
function plainTexts(value: unknown, marks: Marks): unknown {
  if (typeof value === 'string') return marks.plain(value)
  if (Array.isArray(value)) return value.map((item) => plainTexts(item, marks))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [marks.plain(key), plainTexts(inner, marks)]))
}

function parseTemplate(jinja: string): Template {
  try {
    return new Template(jinja)
  } catch (cause) {
    throw new OrielError('internal', "The model's chat template does not parse.", { code: 'bad_model', cause })
  }
}

function renderWith(template: Template, model: TemplateModel, messages: readonly RenderedMessage[], extras: object) {
  try {
    return template.render({
      tools: null,
      add_generation_prompt: true,
      ...extras,
      messages,
      bos_token: model.bosToken,
      eos_token: model.eosToken,
    })
  } catch (error) {
    // A template refuses with raise_exception, whose message is meant for the author of the chat.
    const why = error instanceof Error ? error.message : 'it gives no reason'
    throw new OrielError('invalid', `The model's chat template refuses these messages: ${why}`, {
      param: 'prompt',
      code: 'invalid_value',
      cause: error,
    })
  }
}

/** Joins texts that follow each other: a control token split over two parts must not come together later. */
function mergeTexts({ content, ...rest }: ChatMessage): ChatMessage {
  const merged: ContentPart[] = []
  for (const part of content) {
    const last = merged.at(-1)
    if (part.kind === 'text' && last?.kind === 'text')
      merged[merged.length - 1] = { kind: 'text', text: last.text + part.text }
    else merged.push(part)
  }
  return { ...rest, content: merged }
}
