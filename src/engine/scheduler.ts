import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Choice, Modality } from '../encoders/index.ts'
import { cancelled } from '../errors.ts'
import { Costs } from '../fairness.ts'
import type { Decoder } from '../language/index.ts'
import type { Slices } from '../slices.ts'
import { AdapterTurns } from './adapter-turns.ts'
import { type Admission, admissions, planPreemption } from './admission.ts'
import { Arrivals } from './arrivals.ts'
import { ChunkSize } from './chunk-size.ts'
import type { Cores } from './cores.ts'
import { EncodeRequests } from './encode-request.ts'
import { type Candidates, EncodeTurns, type PayloadSource } from './encode-turns.ts'
import type { AttachmentEncoder } from './encoder.ts'
import type { Embeddings, EngineState, HeaderEncoding, HeaderRequest, PromptInputs } from './generation.ts'
import { createIntake, type Intake } from './intake.ts'
import { KvCache } from './kv-cache.ts'
import { LoadedAdapters } from './loaded-adapters.ts'
import type { PackedEvent } from './packed-chances.ts'
import type { PackedCount } from './packed-tokens.ts'
import { Prefixes } from './prefixes.ts'
import type { Architectures } from './prompt-cells.ts'
import type { EngineSettings } from './protocol.ts'
import { Queue } from './queue.ts'
import type { EngineRequest, Sequence } from './sequence.ts'
import { StepBatch } from './step-batch.ts'
import { StepCommit } from './step-commit.ts'
import type { StepLimits, StepPlan } from './step-plan.ts'
import { type StepRunner, stepRunner } from './step-runner.ts'

/** How the scheduler reaches the process around it, or a test. */
export interface SchedulerPort extends PayloadSource {
  emit(id: number, event: PackedEvent): void
  fail(id: number, error: unknown): void
  /** Answers a question about the engine, about prompts, or for embeddings. */
  answer(id: number, answer: PackedCount | readonly number[] | PromptInputs | Embeddings | null | EngineState): void
  /** Everything emitted so far may be sent: the next step is running, or none is due. */
  flush(): void
}

export interface SchedulerParts {
  decoder: Decoder
  architectures: Architectures
  /** null for a model that takes text only. */
  encoder: AttachmentEncoder | null
  cores: Cores
  settings: Pick<EngineSettings, 'maxSequences' | 'storedSequences' | 'maxQueue' | 'chunkTokens' | 'prefixCacheBytes'>
  port: SchedulerPort
}

/** Log probabilities of prompts that a step may tell, those of a whole vocabulary for each token: they take some 10 ms. */
const mostTold = 2_000_000
/** Rows of a prompt whose log probabilities a step may always tell. */
const leastTold = 8
/** Duration of one slice of a search for a token. */
const mostSearchMs = 5

/**
 * Runs all requests of one model together, step by step. A step is planned (`admissions`, `planStep`), run on the decoder
 * (`StepRunner`) and committed (`StepCommit`). It holds the next token of every running answer and prefill up to a limit,
 * so that a long prompt delays other answers by one chunk at most. Attachments are encoded on another thread meanwhile.
 */
export class Scheduler {
  readonly adapters: LoadedAdapters
  readonly #port: SchedulerPort
  readonly #maxSequences: number
  readonly #costs = new Costs()
  readonly #encoder: AttachmentEncoder | null
  readonly #turns: EncodeTurns | null
  readonly #intake: Intake
  readonly #kv: KvCache
  readonly #prefixes: Prefixes
  readonly #size: ChunkSize
  readonly #limits: StepLimits
  readonly #stepTurns: AdapterTurns
  readonly #batch: StepBatch
  readonly #runner: StepRunner
  readonly #commit: StepCommit
  readonly #arrivals: Arrivals
  readonly #queue: Queue
  readonly #requests = new Map<number, EngineRequest>()
  readonly #encoding = new EncodeRequests()
  /** Sequences with a slot, in the order of their admission. */
  #active: Sequence[] = []
  #stepping = false
  /** Duration of the last step. */
  #stepMs = 0
  #preemptions = 0
  /** Whether the candidates for encoding have changed since the last look. */
  #candidatesChanged = false
  /** Whether something has happened since the last step began. */
  #woken = false

  constructor({ decoder, architectures, encoder, cores, settings, port }: SchedulerParts) {
    this.#port = port
    this.#maxSequences = settings.maxSequences
    this.#arrivals = new Arrivals(settings.maxQueue, this.#costs, (id, error) => this.#refuse(id, error))
    this.#queue = new Queue(settings.maxQueue, this.#costs)
    this.#encoder = encoder
    const candidates = () => this.#candidates()
    this.#turns = encoder && new EncodeTurns(encoder, port, candidates, this.#costs, () => this.#wake())
    this.adapters = new LoadedAdapters(decoder, () => this.#wake())
    this.#intake = createIntake(decoder, architectures, settings, this.adapters)
    this.#kv = new KvCache(decoder, settings.maxSequences, settings.storedSequences, settings.prefixCacheBytes)
    this.#prefixes = new Prefixes(this.#kv, () => this.#active, this.#costs)
    this.#size = new ChunkSize(settings.chunkTokens)
    this.#batch = new StepBatch(decoder)
    this.#stepTurns = new AdapterTurns(this.#costs)
    this.#limits = {
      rows: this.#batch.capacity,
      told: Math.max(leastTold, Math.floor(mostTold / decoder.vocabulary.size)),
      mixes: decoder.tokenEmbedding !== null,
      costs: this.#costs,
      fastestRows: decoder.fastestRows,
      prefill: (answering, promptsEach) => this.#size.next(answering, promptsEach, this.#runner.contended()),
    }
    this.#runner = stepRunner(decoder, encoder, cores, () => this.#tell())
    this.#commit = new StepCommit(decoder, this.#kv.memory, {
      emit: (id, event) => port.emit(id, event),
      ended: (sequence) => this.#ended(sequence),
    })
  }

  /** Puts a request into the queue soon, or fails it through the port. */
  submit(id: number, spec: HeaderRequest): void {
    const { client } = spec
    const reading = this.#intake.accept(id, spec)
    const read = (): boolean => {
      const place = this.#queue.placeFor(client)
      const { done, value: request } = reading.next()
      if (!done) return false
      // Nobody leaves for a request that is refused.
      place.take()
      this.#enqueue(request)
      return true
    }
    this.#arrivals.add(id, { client, read })
  }

  /** Answers a question about prompts soon, or fails as `submit` does. */
  ask(
    id: number,
    client: string,
    question: (intake: Intake) => Slices<PackedCount | number[] | PromptInputs | null>,
  ): void {
    const asked = question(this.#intake)
    const read = (): boolean => {
      const { done, value } = asked.next()
      if (done) this.#port.answer(id, value)
      return done === true
    }
    this.#arrivals.add(id, { client, read })
  }

  /** Encodes an attachment soon and answers with its embeddings, or fails as `submit` does. */
  encode(id: number, spec: HeaderEncoding): void {
    const reading = this.#intake.encode(id, spec)
    const read = (): boolean => {
      const { done, value: request } = reading.next()
      if (!done) return false
      this.#encoding.add(request)
      this.#turns?.wake()
      this.#wake()
      return true
    }
    this.#arrivals.add(id, { client: spec.client, read })
  }

  #enqueue(request: EngineRequest): void {
    this.#requests.set(request.id, request)
    this.#queue.add(request)
    request.cachedCells = this.#prefixes.known(request, request.prompt.cells)
    // Encoding begins at once, even while a step is running.
    this.#turns?.wake()
    this.#wake()
  }

  #refuse(id: number, error: unknown): void {
    this.#port.fail(id, error)
    this.#port.flush()
  }

  /** Stops a request before the next step. */
  cancel(id: number): void {
    if (this.#arrivals.delete(id)) this.#refuse(id, cancelled())
    this.#requests.get(id)?.abort.abort()
    this.#encoding.cancel(id)
    this.#wake()
  }

  /** Stops to compute a request until it is continued. */
  pause(id: number, paused: boolean): void {
    const request = this.#requests.get(id)
    if (request === undefined) return
    request.paused = paused
    this.#wake()
  }

  /** Whether there is no request, and no part is being encoded for one that was cancelled. */
  get isIdle(): boolean {
    const requests = this.#requests.size + this.#encoding.size + this.#arrivals.size
    return requests === 0 && this.#turns?.encoding !== true
  }

  /** Encodes one kind of attachments with other forms from now on. Must not be called unless it is idle. */
  adopt(choice: Choice, modality: Modality): void {
    this.#encoder?.adopt(choice, modality)
    this.#intake.forgetEmbeddings()
  }

  get state(): EngineState {
    const { tree, bytes, storedCells, memory } = this.#kv
    return {
      running: this.#active.length,
      waiting: this.#queue.size + this.#arrivals.size,
      storedPrefixes: tree.size,
      storedCells,
      shelvedBytes: bytes,
      cells: memory.cells,
      freeCells: memory.freeCells,
      encoderCacheBytes: this.#encoder?.cachedBytes ?? 0,
      preemptions: this.#preemptions,
      adapters: this.adapters.size,
    }
  }

  #wake(): void {
    this.#woken = true
    if (!this.#stepping) void this.#run()
  }

  /** Steps until there is nothing to do before a request, a cancel or new embeddings arrive. */
  async #run(): Promise<void> {
    this.#stepping = true
    while (this.#woken) {
      this.#woken = false
      this.#sweep()
      await this.adapters.settle()
      this.#admitAll()
      if (this.#candidatesChanged) {
        this.#candidatesChanged = false
        this.#turns?.wake()
      }
      const stepped = await this.#step()
      const searched = this.#commit.search(this.#searchMs(), this.#costs)
      if (!stepped) this.#tell()
      // Without a step, messages come in here.
      if (searched && !stepped) await nextTurn()
      if (stepped || searched) this.#woken = true
      else this.#runner.idle()
    }
    this.#stepping = false
  }

  /** Makes and sends what came of the last step: the next one is running, or none is due. */
  #tell(): void {
    this.#commit.tell()
    this.#port.flush()
  }

  /** Drops requests that were cancelled or have failed. */
  #sweep(): void {
    for (const request of this.#requests.values()) {
      if (!request.over) continue
      this.#commit.tell()
      this.#port.fail(request.id, request.abort.signal.aborted ? cancelled() : request.failure)
      for (const sequence of request.sequences) if (!sequence.ended) this.#release(sequence)
      this.#forgetRequest(request)
    }
    for (const settled of this.#encoding.settled()) {
      this.#candidatesChanged = true
      if ('embeddings' in settled) this.#port.answer(settled.id, settled.embeddings)
      else this.#port.fail(settled.id, settled.failure)
    }
  }

  #admitAll(): void {
    if (this.#queue.size === 0) return
    const { memory } = this.#kv
    const state = {
      maxSequences: this.#maxSequences,
      cells: memory.cells,
      costs: this.#costs,
      active: () => this.#active,
      heldCells: (sequences: readonly Sequence[]) => memory.held(sequences.map(({ slot }) => slot)),
      prefixes: this.#prefixes,
    }
    for (const admission of admissions(this.#queue.requests, state)) this.#admit(admission)
  }

  #admit({ request, sequences, preempted, overtaken }: Admission): void {
    this.#preempt(preempted)
    for (const other of overtaken) other.overtaken++
    let cached = Number.POSITIVE_INFINITY
    for (const sequence of sequences) {
      sequence.slot = this.#kv.take()
      sequence.filled = this.#prefixes.give(sequence)
      this.#active.push(sequence)
      // A sequence without cells waits for the first one to compute the prompt, and then shares it.
      if (sequence.cells.length > 0) cached = Math.min(cached, sequence.filled)
    }
    this.#queue.leave(request)
    this.#candidatesChanged = true
    if (request.admitted > 0) {
      // Another of its sequences may need more than this one.
      request.cachedCells = Math.min(request.cachedCells, cached)
      return
    }
    request.cachedCells = cached
    request.admitted = performance.now()
    const { cells, attachmentTokens } = request.prompt
    const usage = { promptTokens: cells.length, cachedTokens: cached, attachmentTokens }
    this.#port.emit(request.id, { type: 'prompt', ...usage, ignored: request.ignored })
  }

  /** Embeddings take memory too, so of the queue only as many requests are encoded as would fill the KV memory. */
  #candidates(): Candidates {
    const running = new Set(this.#active.map(({ request }) => request))
    const next = [...this.#queue.next(this.#kv.memory.cells, running), ...this.#encoding.all]
    return { running: [...running], next }
  }

  /** Between steps a search takes a small part of their time, so that other answers hardly wait for it. */
  #searchMs(): number {
    return Math.min(mostSearchMs, Math.max(1, this.#stepMs / 4))
  }

  /** Runs one step. @returns false if there was nothing to compute */
  async #step(): Promise<boolean> {
    const plan = this.#stepTurns.plan(this.#active, this.#limits)
    if (plan.chunks.length === 0) return false
    for (const { sequence, from } of plan.chunks) if (from < sequence.filled) this.#rewind(sequence, from)
    const start = performance.now()
    let rows = 0
    let isTelling = false
    for (const pass of this.#batch.write(plan)) {
      if (!(await this.#runner.run(pass, pass.rows > plan.answering, plan.adapter))) {
        if (this.#kv.keepsStates) await this.#keepStates(plan)
        this.#makeSpace()
        return true
      }
      this.#commit.commit(pass)
      rows += pass.rows
      isTelling ||= pass.entries.some(({ predicted }) => predicted.length > 0)
    }
    const ms = performance.now() - start
    if (this.#kv.keepsStates) await this.#keepStates(plan)
    this.#stepMs = ms
    this.#stepTurns.took(ms)
    for (const { sequence, from, to } of plan.chunks)
      this.#costs.charge(sequence.request.client, (ms * (to - from)) / rows)
    // A change of adapters takes time of its own, and so do log probabilities of a prompt.
    if (!plan.apart && !this.#stepTurns.isChange && !isTelling)
      this.#size.learn(plan.answering, rows - plan.answering, ms, this.#runner.contended())
    return true
  }

  /** Keeps the states of sequences that have come to a stop of their prompt. */
  async #keepStates({ chunks }: StepPlan): Promise<void> {
    for (const { sequence } of chunks) {
      const { slot, cells, filled, request } = sequence
      if (slot < 0 || !request.stops.includes(filled)) continue
      await this.#kv.keep(request.prefixKey(filled), Float64Array.from(cells.slice(0, filled)), slot)
    }
  }

  /** Forgets a sequence's cells from `from` on: they are computed again. */
  #rewind(sequence: Sequence, from: number): void {
    this.#kv.memory.truncate(sequence.slot, from, sequence.request.prompt.positions.after(from))
    sequence.filled = from
  }

  /** The KV memory is full: a stored prefix is evicted, or a sequence is preempted. */
  #makeSpace(): void {
    if (this.#kv.evict()) return
    const plan = planPreemption(this.#active)
    if ('end' in plan) {
      this.#commit.end(plan.end, 'length')
      return
    }
    this.#preempt([plan.preempt])
  }

  /** Takes sequences out of their slots. They wait for others and continue; until then their KV is like a stored prefix. */
  #preempt(sequences: readonly Sequence[]): void {
    for (const sequence of sequences) {
      const { request } = sequence
      this.#preemptions++
      this.#candidatesChanged = true
      this.#leave(sequence)
      sequence.filled = 0
      this.#queue.putBack(request)
    }
  }

  #ended(sequence: Sequence): void {
    const { request } = sequence
    this.#release(sequence)
    // It may have ended without a slot: its last token was still being searched for.
    this.#queue.leave(request)
    if (!request.finished) return
    this.#port.emit(request.id, { type: 'done', timings: request.timings(), attachments: request.works() })
    this.#forgetRequest(request)
  }

  #release(sequence: Sequence): void {
    sequence.ended = true
    sequence.sampler.free()
    if (sequence.slot >= 0) this.#leave(sequence)
  }

  /** Frees a sequence's slot, or stores what it computed for prompts with the same prefix. */
  #leave(sequence: Sequence): void {
    this.#active = this.#active.filter((other) => other !== sequence)
    const { request, filled, slot } = sequence
    const path = Float64Array.from(sequence.cells.slice(0, filled))
    if (request.spec.cachePrompt) this.#prefixes.store(request, path, slot)
    else this.#kv.free(slot)
    sequence.slot = -1
  }

  #forgetRequest(request: EngineRequest): void {
    this.#candidatesChanged = true
    request.abort.abort()
    this.#requests.delete(request.id)
    this.#queue.leave(request)
  }
}
