import { Template } from '@huggingface/jinja'
import { OrielError } from '../errors.ts'
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
 * Characters of Unicode's private use area bracket the number of what stands for something else while the template
 * runs. Where a person's own text has these characters they stand for themselves in the same way, so nobody can forge one.
 */
const open = '\ue0f0'
const close = '\ue0f1'
const token = new RegExp(`${open}(\\d+)${close}`, 'g')

/**
 * Compiles a model's template.
 *
 * Pictures: the template is given a mark in place of each, inside the text, wherever the person put it. What a model
 * writes around a picture is not the template's business here but the engine's, which knows the architecture.
 * Control tokens that a person writes out (`<|im_end|>`) are put behind marks as well: they come out as plain text.
 * @throws OrielError `invalid` (in the layout) when the template refuses the chat
 */
export function compileTemplate(model: TemplateModel): ChatLayout {
  const template = new Template(model.chatTemplate ?? chatml)
  const takesParts = wantsParts(template, model)
  const forgeable = forgeableTexts(model.controlTokens)

  return (messages) => {
    const marked: PromptPart[] = []
    const mark = (part: PromptPart): string => `${open}${marked.push(part) - 1}${close}`
    const plain = (text: string): string =>
      text.replace(forgeable, (found) => mark({ kind: 'text', text: found, special: false }))
    const textOf = (part: ContentPart): string =>
      part.kind === 'text' ? plain(part.text) : mark({ kind: 'picture', picture: part.picture })
    const rendered = render(
      template,
      model,
      messages.map(({ role, content }) => {
        const text = content.map(textOf)
        return { role, content: takesParts ? text.map((value) => ({ type: 'text', text: value })) : text.join('') }
      }),
    )
    return cut(rendered, marked)
  }
}

function render(template: Template, model: TemplateModel, messages: unknown[]): string {
  try {
    return template.render({
      messages,
      add_generation_prompt: true,
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

/** Some templates write `content` as it is, others go through a list of parts: one chat is tried with a list. */
function wantsParts(template: Template, model: TemplateModel): boolean {
  const probe = [{ role: 'user', content: [{ type: 'text', text: 'orielprobe' }] }]
  try {
    const rendered = render(template, model, probe)
    // A list written as text shows its keys.
    return rendered.includes('orielprobe') && !/["']type["']/.test(rendered)
  } catch {
    return false
  }
}

/** Whatever in a person's text would be read as more than text. */
function forgeableTexts(controlTokens: readonly string[]): RegExp {
  const texts = [...controlTokens].filter((text) => text !== '').sort((a, b) => b.length - a.length)
  return new RegExp([open, close, ...texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))].join('|'), 'g')
}

/** Puts back what the marks stand for. */
function cut(rendered: string, marked: readonly PromptPart[]): PromptPart[] {
  const parts: PromptPart[] = []
  let at = 0
  const write = (text: string) => {
    if (text !== '') parts.push({ kind: 'text', text, special: true })
  }
  for (const found of rendered.matchAll(token)) {
    const part = marked[Number(found[1])]
    if (part === undefined) continue
    write(rendered.slice(at, found.index))
    parts.push(part)
    at = found.index + found[0].length
  }
  write(rendered.slice(at))
  return parts
}
