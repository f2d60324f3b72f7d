import { Template } from '@huggingface/jinja'
import { OrielError } from '../errors.ts'
import { createMarks, forgeable, type Marks } from './marks.ts'
import type { ChatMessage, ContentPart, PromptPart, Tool } from './messages.ts'
import { callsInWords, shortIds, templateCalls, templateTool, toolsInWords } from './tools.ts'

/** What a model's chat template needs to know of the model. */
export interface TemplateModel {
  /** Jinja, as in the GGUF; null where it has none. */
  chatTemplate: string | null
  bosToken: string
  eosToken: string
  /** Texts of all control tokens. */
  controlTokens: readonly string[]
}

/** A model's way to write chats. */
export interface ChatFormat {
  /** Lays a chat out as the model was trained to read it. */
  layout(messages: readonly ChatMessage[], extras?: ChatExtras): PromptPart[]
  /** Whether the template knows tools; a model whose template does not is told of them in words. */
  readonly tools: boolean
}

interface ChatExtras {
  /** What the model may call. */
  tools?: readonly Tool[]
  /** Further words of the template: `enable_thinking`, `reasoning_effort` and what else a model knows. */
  variables?: Readonly<Record<string, unknown>>
  /** Whether the model goes on with the last message, which `endsInAnswer`, instead of beginning one of its own. */
  continues?: boolean
}

/** ChatML, for models that bring no template of their own. */
const chatml =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

/**
 * Compiles a model's template.
 *
 * Templates differ in how they want a picture: as a part of a list, for which they write a token of their model, or not
 * at all, so that it must be a mark within the text. Which ways this template takes is found out once, by trying; a chat
 * is laid out in the first way that brings every picture through. What a model wants around a picture is not the
 * template's business but the engine's, which knows the architecture.
 * Control tokens that a person writes out (`<|im_end|>`) come out as plain text, in tools and their results too.
 * @throws OrielError `internal` when the template is broken; the layout throws `invalid` when the template refuses the
 * chat, would lose a picture of it, or does not let its last message be gone on with
 */
export function compileTemplate(model: TemplateModel): ChatFormat {
  const jinja = model.chatTemplate ?? chatml
  const template = parseTemplate(jinja)
  const renderAll: RenderAll = (messages, extras) => renderWith(template, model, messages, extras)
  const render: Render = (messages) => renderAll(messages, {})
  const textForm = takesText(render, asString) || !takesText(render, asTexts) ? asString : asTexts
  const forms = workingForms(render)
  const toHide = forgeable([...model.controlTokens, leak, end, ...forms.flatMap(({ token }) => token ?? [])])
  const knowsTools = takesTools(renderAll, textForm)
  const knowsCalls = takesCalls(renderAll, textForm)
  const wantsShortIds = /length\s*!=\s*9\b/.test(jinja)

  const layout: ChatFormat['layout'] = (messages, { tools = [], variables = {}, continues = false } = {}) => {
    const told = !knowsTools ? toolsInWords(messages, tools) : knowsCalls ? messages : callsInWords(messages)
    const merged = (wantsShortIds ? shortIds(told) : told).map(mergeTexts)
    const pictures = merged.flatMap(({ content }) =>
      content.flatMap((part) => (part.kind === 'picture' ? [part.picture] : [])),
    )
    let refusal: unknown
    for (const form of forms) {
      const marks = createMarks(toHide)
      const contentOf = (content: readonly ContentPart[], ends: boolean): Content => {
        const hasPicture = content.some(({ kind }) => kind === 'picture')
        const written = (hasPicture ? form : textForm).write(content, marks)
        return ends ? ended(written) : written
      }
      const written = merged.map((message, turn) => ({
        role: message.role,
        content: contentOf(message.content, continues && turn === merged.length - 1),
        ...plainTexts(templateCalls(message), marks),
      }))
      const extras = {
        ...plainTexts(variables, marks),
        add_generation_prompt: !continues,
        ...(knowsTools && tools.length > 0
          ? { tools: tools.map((tool) => plainTexts(templateTool(tool), marks)) }
          : {}),
      }
      try {
        const rendered = continues ? upToEnd(renderAll(written, extras)) : renderAll(written, extras)
        const parts = rendered.includes(leak) ? undefined : marks.cut(rendered, pictures, form.token)
        if (parts !== undefined) return parts
      } catch (error) {
        refusal ??= error
      }
    }
    throw (
      refusal ??
      new OrielError('invalid', "The model's chat template has no place for a picture in one of these messages.", {
        param: 'messages',
        code: 'image_not_supported',
      })
    )
  }
  return { layout, tools: knowsTools }
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

/** A way to hand a turn's content to a template. */
interface Form {
  write(content: readonly ContentPart[], marks: Marks): Content
  /** What the template writes for a picture that is handed over this way. */
  token?: string
}

/** A key in every part of a list: where it shows in the outcome, the template wrote the list out as if it were text. */
const leak = '\ue0f2'

/** Behind the text that the model goes on with. What templates close a turn with comes after it. */
const end = '\ue0f3'

function ended(content: Content): Content {
  if (typeof content === 'string') return content + end
  const last = content.at(-1)
  return [...content.slice(0, -1), { ...last, text: `${last?.text ?? ''}${end}` }]
}

function upToEnd(rendered: string): string {
  const [before, behind, ...more] = rendered.split(end)
  if (before !== undefined && behind !== undefined && more.length === 0) return before
  throw new OrielError('invalid', "The model's chat template does not let an assistant's message be gone on with.", {
    param: 'messages',
    code: 'invalid_value',
  })
}

const asString: Form = {
  write: (content, marks) =>
    content.map((part) => (part.kind === 'text' ? marks.plain(part.text) : marks.picture(part.picture))).join(''),
}

const asTexts: Form = asParts((picture, marks) => ({ type: 'text', text: marks.picture(picture) }))

function asParts(pictureOf: (picture: number, marks: Marks) => Record<string, unknown>, token?: string): Form {
  return {
    write: (content, marks) =>
      content.map((part) => ({
        ...(part.kind === 'text' ? { type: 'text', text: marks.plain(part.text) } : pictureOf(part.picture, marks)),
        [leak]: '',
      })),
    ...(token === undefined ? {} : { token }),
  }
}

/** Picture parts by the names that templates know them by. */
const pictureParts = [{ type: 'image' }, { type: 'image_url', image_url: { url: '' } }] as const

/** The forms that bring pictures through this template, the model's own way first. */
function workingForms(render: Render): Form[] {
  const native = pictureParts.flatMap((part) => {
    const token = pictureToken(render, part)
    return token === undefined ? [] : [asParts(() => part, token)]
  })
  return [...native, asTexts, asString]
}

/** What a template writes for a picture: the same for each, between the texts around it. */
function pictureToken(render: Render, part: Record<string, unknown>): string | undefined {
  const [first, second, third] = ['orielfirst', 'orielsecond', 'orielthird'] as const
  const word = (text: string) => ({ type: 'text', text, [leak]: '' })
  const picture = { ...part, [leak]: '' }
  try {
    const rendered = render([{ role: 'user', content: [word(first), picture, word(second), picture, word(third)] }])
    const found = new RegExp(`${first}([^]*)${second}([^]*)${third}`).exec(rendered)
    const [before, after] = [found?.[1]?.trim(), found?.[2]?.trim()]
    return before === after && before !== '' && !rendered.includes(leak) ? before : undefined
  } catch {
    return undefined
  }
}

/** Whether text that is handed over this way arrives: some templates know only lists, some only strings. */
function takesText(render: Render, form: Form): boolean {
  const text = 'orielprobe'
  try {
    const rendered = render([
      { role: 'user', content: form.write([{ kind: 'text', text }], createMarks(forgeable([]))) },
    ])
    return rendered.includes(text) && !rendered.includes(leak)
  } catch {
    return false
  }
}

/** Whether a template writes out what tools there are. */
function takesTools(render: RenderAll, form: Form): boolean {
  const name = 'orielprobe'
  const content = form.write([{ kind: 'text', text: 'x' }], createMarks(forgeable([])))
  const tool = templateTool({ name, description: 'x', parameters: { type: 'object', properties: {} } })
  try {
    return render([{ role: 'user', content }], { tools: [tool] }).includes(name)
  } catch {
    return false
  }
}

/** Whether a template writes out what an assistant called. */
function takesCalls(render: RenderAll, form: Form): boolean {
  const contentOf = (text: string) => form.write([{ kind: 'text', text }], createMarks(forgeable([])))
  const name = 'orielprobe'
  const calls = templateCalls({ role: 'assistant', content: [], calls: [{ id: 'orielcall', name, arguments: '{}' }] })
  const tool = templateTool({ name: 'x', description: 'x', parameters: { type: 'object', properties: {} } })
  const messages = [
    { role: 'user', content: contentOf('x') },
    { role: 'assistant', content: contentOf(''), ...calls },
    { role: 'tool', content: contentOf('x'), tool_call_id: 'orielcall', name },
  ]
  try {
    return render(messages, { tools: [tool] }).includes(name)
  } catch {
    // What it refuses then it refuses of real chats too, and in its own words.
    return true
  }
}

/** The same value with all of its texts put behind marks where need be: these are a person's words too. */
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
    throw new OrielError('internal', "The model's chat template cannot be read.", { code: 'bad_model', cause })
  }
}

function renderWith(
  template: Template,
  model: TemplateModel,
  messages: readonly RenderedMessage[],
  extras: object,
): string {
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
    // A template refuses by raise_exception, whose text is meant for whoever wrote the messages.
    const why = error instanceof Error ? error.message : 'it gives no reason'
    throw new OrielError('invalid', `The model's chat template refuses these messages: ${why}`, {
      param: 'messages',
      cause: error,
    })
  }
}

/** Texts that follow each other are one: a control token that is spread over two parts must not come together later. */
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
