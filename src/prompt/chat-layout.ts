import type { Worker } from 'node:worker_threads'
import { fromWire, startThread } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { OrielError, shuttingDown } from '../errors.ts'
import { programFile } from '../places.ts'
import type { LayoutResult, LayoutTask } from './layout-thread.ts'
import type { ChatMessage, PromptPart } from './messages.ts'
import { type ChatExtras, type ChatFormat, compileTemplate, type TemplateModel } from './template.ts'

/** Messages of a chat that are laid out in some ms. Four thousand take sixty, which is too long for the thread that serves others. */
const fewMessages = 400
/** Time after which a thread without work ends, in ms. */
const idleMs = 30_000

/** Lays the chats of a model out, long ones on a thread that is started on demand. */
export class ChatLayout {
  readonly #model: TemplateModel
  #format: ChatFormat | undefined
  #thread: Worker | undefined
  /** In the order of the thread. */
  #asked: Deferred<PromptPart[]>[] = []
  #idle: NodeJS.Timeout | undefined
  #closed = false

  /** The template is compiled when a chat needs it: without it a model can still complete text. */
  constructor({ chatTemplate, bosToken, eosToken, controlTokens }: TemplateModel) {
    this.#model = { chatTemplate, bosToken, eosToken, controlTokens }
  }

  /** @throws OrielError as `compileTemplate` and `ChatFormat.layout` do */
  async layout(messages: readonly ChatMessage[], extras: ChatExtras): Promise<PromptPart[]> {
    if (messages.length <= fewMessages) {
      this.#format ??= compileTemplate(this.#model)
      return this.#format.layout(messages, extras)
    }
    if (this.#closed) throw shuttingDown()
    const asked = deferred<PromptPart[]>()
    this.#asked.push(asked)
    this.#running().postMessage({ messages, extras } satisfies LayoutTask)
    return asked.promise
  }

  close(): void {
    this.#closed = true
    this.#end(shuttingDown())
  }

  #running(): Worker {
    clearTimeout(this.#idle)
    if (this.#thread !== undefined) return this.#thread
    const thread = startThread(programFile('prompt/layout-thread'), this.#model)
    thread.on('message', (result: LayoutResult) => {
      const asked = this.#asked.shift()
      if ('error' in result) asked?.reject(fromWire(result.error))
      else asked?.resolve(result.parts)
      if (this.#asked.length === 0) this.#idle = setTimeout(() => this.#end(), idleMs).unref()
    })
    thread.on('error', (cause) => this.#end(new OrielError('internal', 'A chat could not be laid out.', { cause })))
    thread.unref()
    this.#thread = thread
    return thread
  }

  #end(error: OrielError = shuttingDown()): void {
    void this.#thread?.terminate()
    this.#thread = undefined
    clearTimeout(this.#idle)
    for (const { reject } of this.#asked.splice(0)) reject(error)
  }
}
