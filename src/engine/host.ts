import type { ChildProcess } from 'node:child_process'
import { entryOf, fromWire, startProcess, type WireError } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { EventQueue } from './event-queue.ts'
import type {
  Engine,
  EngineModel,
  EngineState,
  GenerateEvent,
  GenerateRequest,
  Pixels,
  PromptCount,
  PromptPiece,
} from './generation.ts'
import type { FromEngine, LoadOptions, ToEngine, WirePiece } from './protocol.ts'

export interface EngineOptions extends LoadOptions {
  log: Logger
  /** Told the share of the decoder's weights that is loaded; the vision file comes after them. */
  onProgress?: (share: number) => void
}

/** How long a request waits for an engine that is starting again, in ms. */
const patience = 30_000
/** Pause before a new start, in ms: doubled with each start that fails, up to the last. */
const pauses = { first: 100, last: 10_000 }
const linesKept = 20
/**
 * How often an engine that has something to do is asked for a sign of life, in ms, and how many times in vain: it answers
 * between any two calls of native code, none of which takes long unless it never ends.
 */
const pulse = { every: 2000, most: 6 }

/**
 * Starts an engine in a process of its own and keeps it running: when the process dies, its running requests fail with
 * `engine_failed`, another process is started, and requests that waited or come meanwhile wait for it.
 * @param signal ends a load that nobody wants any more
 * @throws OrielError `invalid` when the model cannot be loaded, `internal` when this machine cannot run it
 */
export async function startEngine(
  { log, onProgress = () => {}, ...options }: EngineOptions,
  signal?: AbortSignal,
): Promise<Engine> {
  const host = new EngineHost(options, log, onProgress)
  const stop = (): void => void host.close()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    await host.start()
    return host
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

interface Pending {
  request: Extract<ToEngine, { type: 'generate' }>['request']
  queue: EventQueue<GenerateEvent>
  /** Whether another process may take it over: it only waits, all its pixels are here, and none has died under it. */
  movable: boolean
  /** Pixels by the picture's hash, of those that the engine may still want. */
  pictures: Map<string, Pixels[]>
}

class EngineHost implements Engine {
  readonly #options: LoadOptions
  readonly #log: Logger
  readonly #onProgress: (share: number) => void
  readonly #running = new Map<number, Pending>()
  readonly #counting = new Map<number, Deferred<PromptCount>>()
  readonly #asking = new Map<number, Deferred<EngineState>>()
  #child: ChildProcess | undefined
  /** Whether the child has loaded its model and takes requests. */
  #live = false
  #model: EngineModel | undefined
  #ready: Promise<void> = Promise.resolve()
  #closed = false
  #nextId = 1

  constructor(options: LoadOptions, log: Logger, onProgress: (share: number) => void) {
    this.#options = options
    this.#log = log
    this.#onProgress = onProgress
  }

  get model(): EngineModel {
    if (this.#model === undefined) throw new Error('the engine has not been started')
    return this.#model
  }

  async start(): Promise<void> {
    await this.#launch()
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    await this.#whenReady(signal)
    const id = this.#nextId++
    const { prompt, pictures } = withoutPixels(request.prompt)
    const queue = new EventQueue<GenerateEvent>(mergeText)
    let over = false
    const leave = (): void => {
      signal.removeEventListener('abort', cancel)
      if (this.#running.delete(id) && !over) this.#send({ type: 'cancel', id })
    }
    // At once, since it may be that nobody reads on.
    const cancel = (): void => {
      queue.fail(cancelled())
      leave()
    }
    const pending: Pending = { request: { ...request, prompt }, queue, movable: true, pictures }
    this.#running.set(id, pending)
    signal.addEventListener('abort', cancel, { once: true })
    try {
      this.#send({ type: 'generate', id, request: pending.request })
      for await (const event of queue) {
        over = event.type === 'done'
        yield event
        if (over) return
      }
    } catch (error) {
      over = true
      throw error
    } finally {
      leave()
    }
  }

  async count(pieces: readonly PromptPiece[]): Promise<PromptCount> {
    await this.#whenReady(new AbortController().signal)
    const id = this.#nextId++
    const counted = deferred<PromptCount>()
    this.#counting.set(id, counted)
    this.#send({ type: 'count', id, prompt: withoutPixels(pieces).prompt })
    return counted.promise
  }

  async state(): Promise<EngineState> {
    if (!this.#live) throw lost()
    const id = this.#nextId++
    const asked = deferred<EngineState>()
    this.#asking.set(id, asked)
    this.#send({ type: 'state', id })
    return asked.promise
  }

  async close(): Promise<void> {
    this.#closed = true
    const child = this.#child
    this.#fail(shuttingDown())
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }

  /** Waits for a process that takes requests: usually there is one. */
  async #whenReady(signal: AbortSignal): Promise<void> {
    const { promise, reject } = deferred<never>()
    const cancel = (): void => reject(cancelled())
    const timer = setTimeout(() => reject(tooLong()), patience)
    signal.addEventListener('abort', cancel, { once: true })
    if (signal.aborted) cancel()
    try {
      while (!this.#live && !this.#closed) await Promise.race([this.#ready, promise])
      if (this.#closed) throw shuttingDown()
      if (signal.aborted) await promise
    } finally {
      promise.catch(() => {})
      clearTimeout(timer)
      signal.removeEventListener('abort', cancel)
    }
  }

  /** One process. @throws OrielError when it cannot be started, or does not load its model */
  async #launch(): Promise<void> {
    const child = startProcess(entryOf(import.meta.url, './process.ts'), {
      // What a model's loading leaves behind is collected at once: see `giveBackMemory`.
      nodeFlags: ['--expose-gc'],
      serialization: 'advanced',
      // All graphs of the decoder's thread pool must run on one thread, and decoding is all that it has to do.
      env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#child = child
    const lastLines = this.#readLog(child)
    const heard = this.#watch(child)
    let refused = false
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: FromEngine) => {
        heard()
        if (message.type === 'ready') {
          this.#live = true
          this.#model = message.model
          const { contextTokens, memory, gpuLayers } = message.model
          this.#log.info({ engine: message.model.name, contextTokens, gpuLayers, ...memory }, 'the engine is ready')
          for (const [id, { request }] of this.#running) this.#send({ type: 'generate', id, request })
          resolve()
        } else if (message.type === 'loading') this.#onProgress(message.share)
        else if (message.type === 'failed' && message.id === null) {
          refused = true
          this.#logCause(message.error, 'the engine failed while it loaded the model')
          reject(fromWire(message.error))
          child.kill('SIGKILL')
        } else this.#receive(message)
      })
      child.on('error', (error) => {
        this.#log.error({ error: error.message }, 'the engine process cannot be reached')
        reject(new OrielError('internal', 'The engine process could not be started.', { cause: error }))
      })
      child.once('exit', (code, signal) => {
        const wasLive = this.#live
        this.#live = false
        reject(new OrielError('internal', 'The engine process died while it loaded the model.'))
        if (this.#closed || refused) return
        this.#log.error({ code, signal, lastLines }, 'the engine process died')
        if (!wasLive) return
        this.#lose()
        this.#ready = this.#restart()
      })
      child.send({ type: 'load', options: this.#options } satisfies ToEngine, () => {})
    })
  }

  /** Kills a process that hangs: its exit does the rest. @returns to be called with each of its messages */
  #watch(child: ChildProcess): () => void {
    let unanswered = 0
    const timer = setInterval(() => {
      if (!this.#live || this.#running.size + this.#counting.size + this.#asking.size === 0) return
      if (++unanswered > pulse.most) {
        this.#log.error({ engine: this.#options.name }, 'the engine process hangs')
        child.kill('SIGKILL')
      } else this.state().catch(() => {})
    }, pulse.every)
    child.once('exit', () => clearInterval(timer))
    timer.unref()
    return () => {
      unanswered = 0
    }
  }

  /** Starts processes until one is live. Never rejects. */
  async #restart(): Promise<void> {
    for (let pause = pauses.first; !this.#closed; pause = Math.min(pauses.last, pause * 2)) {
      await new Promise((resolve) => setTimeout(resolve, pause))
      if (this.#closed) return
      try {
        await this.#launch()
        return
      } catch (error) {
        this.#log.error({ error: String(error) }, 'the engine did not start')
        this.#lose()
      }
    }
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case 'events':
        for (const [id, event] of message.events) {
          const pending = this.#running.get(id)
          if (pending === undefined) continue
          pending.movable = false
          pending.queue.push(event)
        }
        break
      case 'want': {
        const [pixels] = this.#running.get(message.id)?.pictures.get(message.hash) ?? []
        if (pixels !== undefined) this.#send({ type: 'pixels', id: message.id, hash: message.hash, rgb: pixels.rgb })
        break
      }
      case 'encoded': {
        const pending = this.#running.get(message.id)
        if (pending === undefined) break
        pending.movable = false
        for (const pixels of pending.pictures.get(message.hash) ?? []) pixels.letGo()
        pending.pictures.delete(message.hash)
        break
      }
      case 'counted':
        this.#counting.get(message.id)?.resolve(message.count)
        this.#counting.delete(message.id)
        break
      case 'state':
        this.#asking.get(message.id)?.resolve(message.state)
        this.#asking.delete(message.id)
        break
      case 'failed':
        if (message.id === null) break
        this.#logCause(message.error, 'a request failed in the engine')
        this.#end(message.id, fromWire(message.error))
        this.#counting.get(message.id)?.reject(fromWire(message.error))
        this.#counting.delete(message.id)
        break
    }
  }

  #end(id: number, error: OrielError): void {
    this.#running.get(id)?.queue.fail(error)
    this.#running.delete(id)
  }

  /**
   * Fails what a process had under way. Requests that only waited in it are left for the next one, each but once: it may
   * be that one of them ended it.
   */
  #lose(): void {
    for (const [id, pending] of this.#running) {
      if (!pending.movable) this.#end(id, lost())
      pending.movable = false
    }
    this.#failQuestions(lost())
  }

  #logCause({ cause }: WireError, what: string): void {
    if (cause !== undefined) this.#log.error({ error: cause }, what)
  }

  /** Fails everything that is under way. */
  #fail(error: OrielError): void {
    for (const { queue } of this.#running.values()) queue.fail(error)
    this.#failQuestions(error)
  }

  #failQuestions(error: OrielError): void {
    for (const asked of [this.#counting, this.#asking]) {
      for (const { reject } of asked.values()) reject(error)
      asked.clear()
    }
  }

  #send(message: ToEngine): void {
    // A process that is going down takes no more; its exit tells whoever waits.
    if (this.#child?.connected) this.#child.send(message, () => {})
  }

  /** llama.cpp and ggml write to stderr, an assertion that ends the process too: all of it goes to our log. */
  #readLog(child: ChildProcess): string[] {
    const lastLines: string[] = []
    for (const stream of [child.stdout, child.stderr]) {
      let rest = ''
      stream?.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          this.#log.debug({ engine: this.#options.name }, line)
          lastLines.push(line)
          if (lastLines.length > linesKept) lastLines.shift()
        }
      })
    }
    return lastLines
  }
}

function withoutPixels(pieces: readonly PromptPiece[]): { prompt: WirePiece[]; pictures: Map<string, Pixels[]> } {
  const pictures = new Map<string, Pixels[]>()
  const prompt = pieces.map((piece): WirePiece => {
    if (piece.kind !== 'picture') return piece
    const { pixels, ...name } = piece.picture
    pictures.set(name.hash, [...(pictures.get(name.hash) ?? []), pixels])
    return { kind: 'picture', picture: name }
  })
  return { prompt, pictures }
}

const tooLong = () =>
  new OrielError('engine_failed', 'The engine is starting again and takes longer than it should.', { retryAfter: 5 })
const shuttingDown = () => new OrielError('overloaded', 'The server is shutting down.', { retryAfter: 5 })
const lost = () =>
  new OrielError(
    'engine_failed',
    'The engine stopped while it worked on this request; it is being started again. Send the request once more.',
    { retryAfter: 1 },
  )

/** Text that a slow reader has not taken yet grows into one event, so that it never takes more than its characters. */
function mergeText(waiting: GenerateEvent, next: GenerateEvent): GenerateEvent | undefined {
  if (waiting.type !== 'text' || next.type !== 'text' || waiting.choice !== next.choice) return undefined
  return { ...next, text: waiting.text + next.text, tokens: [...waiting.tokens, ...next.tokens] }
}
