import { ThreadOnDemand } from '../children/index.ts'
import { JsonWalk } from '../json.ts'
import type { LayoutResult, LayoutTask } from './layout-thread.ts'
import type { ChatMessage, PromptPart } from './messages.ts'
import { type ChatExtras, type ChatFormat, compileTemplate, type TemplateModel } from './template.ts'

/** What a chat may have to be laid out in some ms. Ten times as much would be too long for the thread that serves others. */
const few = { messages: 400, characters: 400_000, values: 8000 }

/** Lays the chats of a model out, long ones on a thread of their own. */
export class ChatLayout {
  readonly #model: TemplateModel
  readonly #thread: ThreadOnDemand<LayoutTask, LayoutResult>
  #format: ChatFormat | undefined

  /** The template is compiled when a chat needs it: without it a model can still complete text. */
  constructor({ chatTemplate, bosToken, eosToken, controlTokens }: TemplateModel) {
    this.#model = { chatTemplate, bosToken, eosToken, controlTokens }
    this.#thread = new ThreadOnDemand({
      program: 'prompt/layout-thread',
      data: this.#model,
      failure: 'A chat could not be laid out.',
    })
  }

  /** @throws OrielError as `compileTemplate` and `ChatFormat.layout` do */
  async layout(messages: readonly ChatMessage[], extras: ChatExtras): Promise<PromptPart[]> {
    if (isLong(messages, extras)) return (await this.#thread.ask({ messages, extras })).parts
    this.#format ??= compileTemplate(this.#model)
    return this.#format.layout(messages, extras)
  }

  close(): void {
    this.#thread.close()
  }
}

/** Also counts what a template walks through besides the text: the tools, and the arguments of calls. */
function isLong(messages: readonly ChatMessage[], { tools = [] }: ChatExtras): boolean {
  if (messages.length > few.messages) return true
  const walk = new JsonWalk()
  if (walk.isBeyond(tools)) return true
  let { characters, members: values } = walk
  for (const { content, reasoning = '', calls = [] } of messages) {
    characters += reasoning.length
    for (const part of content) if (part.kind === 'text') characters += part.text.length
    for (const call of calls) {
      characters += call.arguments.length
      values += 1 + commasIn(call.arguments, few.values)
    }
    if (characters > few.characters || values > few.values) return true
  }
  return characters > few.characters || values > few.values
}

/** JSON has hardly more values than commas, which are found without parsing it. @param enough commas that are counted */
function commasIn(text: string, enough: number): number {
  let commas = 0
  for (let at = text.indexOf(','); at >= 0 && commas < enough; at = text.indexOf(',', at + 1)) commas++
  return commas
}
