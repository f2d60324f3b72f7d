import { onAbort } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, type OrielError } from '../errors.ts'
import type { Payloads } from './pending.ts'
import type { ToEngine } from './protocol.ts'

export type Question = Exclude<ToEngine, { type: 'load' }>

/** A question that the engine has, or will have when it runs again. */
interface Asked {
  readonly question: Question
  readonly answer: Deferred<unknown>
  /** By the attachment's hash, what the engine may still want for the answer. */
  readonly payloads: Payloads
  /** Whether another process may answer it: it is not about this one, and no process has died under it. */
  movable: boolean
}

/** Questions that the engine has not answered: counts, texts to embed, images to encode, and states. */
export class Questions {
  readonly #asked = new Map<number, Asked>()
  readonly #send: (message: ToEngine) => void
  /** Why there is no engine any more, and none will come. */
  #ended: OrielError | undefined

  constructor(send: (message: ToEngine) => void) {
    this.#send = send
  }

  get size(): number {
    return this.#asked.size
  }

  /** @throws OrielError with which the engine fails it; why there is none */
  async ask<Answer>(question: Question, payloads: Payloads = new Map()): Promise<Answer> {
    // An adapter may have been read meanwhile.
    if (this.#ended !== undefined) throw this.#ended
    const answer = deferred<Answer>()
    this.#asked.set(question.id, { question, answer, payloads, movable: question.type !== 'state' })
    this.#send(question)
    return answer.promise
  }

  /** Asks what is answered late, and takes it back when the signal aborts. @throws OrielError as `ask` does; `cancelled` */
  until<Answer>(signal: AbortSignal, question: Question, payloads?: Payloads): Promise<Answer> {
    const { id } = question
    const removeListener = onAbort(signal, () => {
      const isAsked = this.#asked.has(id)
      this.fail(id, cancelled())
      if (isAsked) this.#send({ type: 'cancel', id })
    })
    return this.ask<Answer>(question, payloads).finally(removeListener)
  }

  answer(id: number, answer: unknown): void {
    this.#asked.get(id)?.answer.resolve(answer)
    this.#asked.delete(id)
  }

  fail(id: number, error: OrielError): void {
    this.#asked.get(id)?.answer.reject(error)
    this.#asked.delete(id)
  }

  /** The engine has ended: fails all questions, and those that are asked later. */
  end(error: OrielError): void {
    this.#ended ??= error
    for (const id of [...this.#asked.keys()]) this.fail(id, error)
  }

  /** Fails those that wait for an adapter. */
  failAdapter(key: string, error: OrielError): void {
    for (const [id, { question }] of this.#asked)
      if (question.type === 'adapter' && question.key === key) this.fail(id, error)
  }

  payloadsOf(id: number): Payloads | undefined {
    return this.#asked.get(id)?.payloads
  }

  /** The process has taken what another one would need. */
  hold(id: number): void {
    const asked = this.#asked.get(id)
    if (asked !== undefined) asked.movable = false
  }

  /** Asks another process. */
  askAgain(): void {
    for (const { question } of this.#asked.values()) this.#send(question)
  }

  /** The process has died: those are left for the next one that it can answer, but once, since one of them may be the cause. */
  lose(error: OrielError): void {
    for (const [id, asked] of this.#asked) {
      if (!asked.movable) this.fail(id, error)
      asked.movable = false
    }
  }
}
