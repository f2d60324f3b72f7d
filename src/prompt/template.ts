import { Template } from '@huggingface/jinja'
import { OrielError } from '../errors.ts'
import { createMarks, forgeable, type Marks } from './marks.ts'
import type { ChatMessage, ContentPart, PromptPart } from './messages.ts'

/** What a model's chat template needs to know of the model. */
export interface TemplateModel {
  /** Jinja, as in the GGUF; null where it has none. */
  chatTemplate: string | null
  bosToken: string
  eosToken: string
  /** Texts of all control tokens. */
  controlTokens: readonly string[]
}

/** Lays a chat out as the model was trained to read it. */
export type ChatLayout = (messages: readonly ChatMessage[]) => PromptPart[]

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
 * Control tokens that a person writes out (`<|im_end|>`) come out as plain text.
 * @throws OrielError `internal` when the template is broken; the layout throws `invalid` when the template refuses the
 * chat, or would lose a picture of it
 */
export function compileTemplate(model: TemplateModel): ChatLayout {
  const template = parseTemplate(model.chatTemplate ?? chatml)
  const render = (messages: readonly RenderedMessage[]): string => renderWith(template, model, messages)
  const textForm = takesText(render, asString) || !takesText(render, asTexts) ? asString : asTexts
  const forms = workingForms(render)
  const toHide = forgeable([...model.controlTokens, leak, ...forms.flatMap(({ token }) => token ?? [])])

  return (messages) => {
    const merged = messages.map(mergeTexts)
    const pictures = merged.flatMap(({ content }) =>
      content.flatMap((part) => (part.kind === 'picture' ? [part.picture] : [])),
    )
    let refusal: unknown
    for (const form of forms) {
      const marks = createMarks(toHide)
      const contentOf = (content: readonly ContentPart[]): unknown => {
        const hasPicture = content.some(({ kind }) => kind === 'picture')
        return (hasPicture ? form : textForm).write(content, marks)
      }
      try {
        const rendered = render(merged.map(({ role, content }) => ({ role, content: contentOf(content) })))
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
}

interface RenderedMessage {
  role: string
  content: unknown
}

type Render = (messages: readonly RenderedMessage[]) => string

/** A way to hand a turn's content to a template. */
interface Form {
  write(content: readonly ContentPart[], marks: Marks): unknown
  /** What the template writes for a picture that is handed over this way. */
  token?: string
}

/** A key in every part of a list: where it shows in the outcome, the template wrote the list out as if it were text. */
const leak = '\ue0f2'

const asString: Form = {
  write: (content, marks) =>
    content.map((part) => (part.kind === 'text' ? marks.plain(part.text) : marks.picture(part.picture))).join(''),
}

const asTexts: Form = asParts((picture, marks) => ({ type: 'text', text: marks.picture(picture) }))

function asParts(pictureOf: (picture: number, marks: Marks) => object, token?: string): Form {
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
function pictureToken(render: Render, part: object): string | undefined {
  const words = ['orielfirst', 'orielsecond', 'orielthird']
  const [first, second, third] = words.map((text) => ({ type: 'text', text, [leak]: '' }))
  const picture = { ...part, [leak]: '' }
  try {
    const rendered = render([{ role: 'user', content: [first, picture, second, picture, third] }])
    const found = new RegExp(words.join('([^]*)')).exec(rendered)
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

function parseTemplate(jinja: string): Template {
  try {
    return new Template(jinja)
  } catch (cause) {
    throw new OrielError('internal', "The model's chat template cannot be read.", { code: 'bad_model', cause })
  }
}

function renderWith(template: Template, model: TemplateModel, messages: readonly RenderedMessage[]): string {
  try {
    return template.render({
      messages,
      add_generation_prompt: true,
      bos_token: model.bosToken,
      eos_token: model.eosToken,
      tools: null,
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
function mergeTexts({ role, content }: ChatMessage): ChatMessage {
  const merged: ContentPart[] = []
  for (const part of content) {
    const last = merged.at(-1)
    if (part.kind === 'text' && last?.kind === 'text')
      merged[merged.length - 1] = { kind: 'text', text: last.text + part.text }
    else merged.push(part)
  }
  return { role, content: merged }
}
