import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Answer, AnswerEvent, Backend } from './backend.ts'
import type { Served } from './embedder.ts'
import type { NamedModel, UseOptions } from './named-model.ts'
import { withoutAccount } from './names.ts'

/** Further names: what each means, in the order in which it is tried. */
export type Aliases = Readonly<Record<string, readonly string[]>>

/** What a name means. */
export const meantBy = (name: string, aliases: Aliases): readonly string[] => {
  const own = [name, withoutAccount(name)].find((one) => Object.hasOwn(aliases, one))
  return (own === undefined ? undefined : aliases[own]) ?? [name]
}

/**
 * A model that is the first of several that can answer. Once an answer has begun, no other is tried.
 * @param names at least one
 * @throws OrielError as `lookUp` does, if none of them exists
 */
export async function firstOf(
  names: readonly string[],
  lookUp: (name: string) => Promise<NamedModel>,
  log: Logger,
): Promise<NamedModel> {
  const [only, ...others] = names
  if (only !== undefined && others.length === 0) return lookUp(only)
  const { found } = await firstFrom(0, names, lookUp, log)
  const opener =
    <T extends Served>(
      signal: AbortSignal,
      { knows = () => true }: UseOptions = {},
      use: (model: NamedModel, signal: AbortSignal) => Promise<T>,
    ): Open<T> =>
    (at) =>
      firstFrom(
        at,
        names,
        async (name) => {
          const model = await lookUp(name)
          if (!knows(model.id)) throw notFor(name)
          // What it holds is freed when the next one is tried.
          const left = new AbortController()
          const leave = () => left.abort()
          const served = await use(model, AbortSignal.any([signal, left.signal])).catch((error: unknown) => {
            leave()
            throw error
          })
          return { served, leave }
        },
        log,
      )
  const servedBy = async <T extends Served>(open: Open<T>): Promise<T> => (await open(0)).found.served
  return {
    id: found.id,
    adapter: found.adapter,
    async backend(signal, options) {
      const open = opener(signal, options, (model, own) => model.backend(own, options))
      return fallingBack(await open(0), open, names, log)
    },
    embedder: (signal, options) => servedBy(opener(signal, options, (model, own) => model.embedder(own, options))),
    hold: (signal, options) => servedBy(opener(signal, options, (model, own) => model.hold(own, options))),
  }
}

interface Found<T> {
  /** Its place among the names. */
  readonly at: number
  readonly found: T
}

type Open<T extends Served> = (from: number) => Promise<Found<{ readonly served: T; leave(): void }>>

/** Tries the names in order. @throws what the last one throws that exists, or the last one */
async function firstFrom<T>(
  from: number,
  names: readonly string[],
  attempt: (name: string) => Promise<T>,
  log: Logger,
): Promise<Found<T>> {
  let failure: unknown
  for (const [at, name] of names.entries()) {
    if (at < from) continue
    try {
      return { at, found: await attempt(name) }
    } catch (error) {
      if (!isLeft(error)) throw error
      if (failure === undefined || !isMissing(error)) failure = error
      report(names, at, error, log)
    }
  }
  throw failure
}

/** A backend that is left for the next one as long as it has not begun to answer. */
function fallingBack(
  first: Awaited<ReturnType<Open<Backend>>>,
  open: Open<Backend>,
  names: readonly string[],
  log: Logger,
): Backend {
  let { at, found } = first
  const { served } = found
  const ask = async <T>(attempt: (backend: Backend, isLast: boolean) => Promise<T>): Promise<T> => {
    for (;;)
      try {
        return await attempt(found.served, at === names.length - 1)
      } catch (error) {
        if (at === names.length - 1 || !isLeft(error)) throw error
        report(names, at, error, log)
        found.leave()
        const next = await open(at + 1).catch((other: unknown) => {
          throw isMissing(other) ? error : other
        })
        at = next.at
        found = next.found
      }
  }
  return {
    get info() {
      return found.served.info
    },
    answer: (asked, signal, ...hears) =>
      ask(async (backend, isLast) => {
        const answer = await backend.answer(asked, signal, ...hears)
        return isLast ? answer : begun(answer)
      }),
    count: (asked, signal) => ask((backend) => backend.count(asked, signal)),
    ...(served.cut && { cut: served.cut.bind(served) }),
    ...(served.preview && { preview: served.preview.bind(served) }),
    state: () => found.served.state(),
    close: async () => {},
  }
}

/** Waits for the first event of an answer: until it has come, another model may answer. */
async function begun(answer: Answer): Promise<Answer> {
  const events = answer.events[Symbol.asyncIterator]()
  const first = await events.next()
  return Object.assign(answer, { events: startingWith(first, events) })
}

async function* startingWith(
  first: IteratorResult<AnswerEvent>,
  events: AsyncIterator<AnswerEvent>,
): AsyncIterable<AnswerEvent> {
  try {
    for (let next = first; !next.done; next = await events.next()) yield next.value
  } finally {
    await events.return?.()
  }
}

/** Kinds of errors by which a model says that it cannot answer now, whatever is asked. */
const unable = ['overloaded', 'rate_limited', 'engine_failed', 'timeout', 'internal', 'precondition_failed']

/** Whether another model is tried. What the request is at fault for, any model would refuse. */
function isLeft(error: unknown): boolean {
  if (!(error instanceof OrielError)) return true
  const { kind, code = '', param = 'model' } = error
  return (
    isMissing(error) || /^(image|audio|video)_not_supported$/.test(code) || (unable.includes(kind) && param === 'model')
  )
}

const isMissing = (error: unknown): boolean => error instanceof OrielError && error.code === 'model_not_found'

const notFor = (name: string): OrielError =>
  new OrielError('not_found', `The model ${name} is not for this key.`, { param: 'model', code: 'model_not_found' })

/** Without the error's sentence, which may be about what the client wrote. */
function report(names: readonly string[], at: number, error: unknown, log: Logger): void {
  const next = names[at + 1]
  if (next === undefined) return
  const why = error instanceof OrielError ? { kind: error.kind, code: error.code } : { kind: 'internal' }
  log.warn({ model: names[at], next, ...why }, 'a model cannot answer, and the next one is tried')
}
