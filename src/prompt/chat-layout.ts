import { ThreadOnDemand } from '../children/index.ts'
import type { LayoutResult, LayoutTask } from './layout-thread.ts'
import type { ChatMessage, PromptPart } from './messages.ts'
import { type ChatExtras, type ChatFormat, compileTemplate, type TemplateModel } from './template.ts'

/** Messages of a chat that are laid out in some ms. Four thousand take sixty, which is too long for the thread that serves others. */
const fewMessages = 400

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
    if (messages.length > fewMessages) return (await this.#thread.ask({ messages, extras })).parts
    this.#format ??= compileTemplate(this.#model)
    return this.#format.layout(messages, extras)
  }

  close(): void {
    this.#thread.close()
  }
}
