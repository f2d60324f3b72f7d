import type { EngineConfig } from '../config.ts'
import type { ImageArchitecture } from '../encoders/index.ts'
import { cancelled } from '../errors.ts'
import type { Decoder } from '../language/index.ts'
import { Admission } from './admission.ts'
import { ChunkSize } from './chunk-size.ts'
import type { Cores } from './cores.ts'
import type { EngineState, GenerateEvent, GenerateRequest, PromptCount, PromptPiece } from './generation.ts'
import { KvCache } from './kv-cache.ts'
import { answerToken } from './logprobs.ts'
import type { PictureEncoder } from './picture-encoder.ts'
import { PictureTurns, type PixelSource, type Viewers } from './picture-turns.ts'
import { Prefixes } from './prefixes.ts'
import type { EngineRequest, Sequence } from './sequence.ts'
import { type Part, StepBatch } from './step-batch.ts'

/** How the scheduler reaches the world outside: the process around it, or a test. */
export interface SchedulerPort extends PixelSource {
  emit(id: number, event: GenerateEvent): void
  fail(id: number, error: unknown): void
  /** Everything emitted so far may be sent: the next step runs, or there is none. */
  flush(): void
}

/** Cells that every running sequence is given room for when another comes in. */
const roomToGrow = 32

/** Requests that may pass one that does not fit yet, so that it waits no longer than it must; and so many are looked at. */
const mostPass = 8

/** A prefix this much longer than the one at hand is worth waiting for while another sequence computes it. */
const worthWaiting = 32

/**
 * Runs all requests of one model together, step by step. Each step is at most one batch of tokens and one of picture
 * embeddings: the next token of every running answer, and prefill up to the chunk's bound, so that nobody waits for
 * another's long prompt by more than a chunk. Pictures are encoded on a thread of their own meanwhile.
 */
export class Scheduler {
  readonly #decoder: Decoder
  readonly #encoder: PictureEncoder | null
  readonly #pictures: PictureTurns | null
  readonly #admission: Admission
  readonly #config: EngineConfig
  readonly #port: SchedulerPort
  readonly #cores: Cores
  readonly #size: ChunkSize
  readonly #batch: StepBatch
  readonly #kv: KvCache
  readonly #prefixes: Prefixes
  readonly #waiting: EngineRequest[] = []
  readonly #requests = new Map<number, EngineRequest>()
  /** Sequences with a slot, in the order of their admission. */
  #active: Sequence[] = []
  #stepping = false
  /** Whose pictures are encoded may be others than when they were last looked through. */
  #viewersChanged = false
  /** Something happened since the last step began. */
  #woken = false

  constructor(
    decoder: Decoder,
    architecture: ImageArchitecture | null,
    encoder: PictureEncoder | null,
    cores: Cores,
    config: EngineConfig,
    port: SchedulerPort,
  ) {
    this.#decoder = decoder
    this.#encoder = encoder
    const viewers = () => this.#viewers()
    const changed = () => this.#wake()
    this.#pictures = encoder === null ? null : new PictureTurns(encoder, port, viewers, changed)
    this.#admission = new Admission(decoder, architecture, config)
    this.#cores = cores
    this.#config = config
    this.#port = port
    this.#kv = new KvCache(decoder, config.maxSequences, config.prefixCacheBytes)
    this.#prefixes = new Prefixes(this.#kv, () => this.#active)
    this.#size = new ChunkSize(config.chunkTokens)
    this.#batch = new StepBatch(decoder, this.#size)
  }

  /** Takes a request in. What is wrong with it is told through the port. */
  submit(id: number, spec: GenerateRequest): void {
    try {
      const request = this.#admission.accept(id, spec, this.#waiting.length)
      this.#requests.set(id, request)
      this.#waiting.push(request)
      request.known = this.#prefixes.known(request, request.prompt.cells)
      // Encoding begins at once, also while a step is under way.
      this.#pictures?.wake()
      this.#wake()
    } catch (error) {
      this.#port.fail(id, error)
      this.#port.flush()
    }
  }

  /** Stops a request before the next step. */
  cancel(id: number): void {
    this.#requests.get(id)?.abort.abort()
    this.#wake()
  }

  count(prompt: readonly PromptPiece[]): PromptCount {
    return this.#admission.count(prompt)
  }

  get state(): EngineState {
    const { storedPrefixes, storedCells, shelvedBytes, memory } = this.#kv
    return {
      running: this.#active.length,
      waiting: this.#waiting.length,
      storedPrefixes,
      storedCells,
      shelvedBytes,
      cells: memory.cells,
      freeCells: memory.freeCells,
      encoderCacheBytes: this.#encoder?.cachedBytes ?? 0,
    }
  }

  #wake(): void {
    this.#woken = true
    if (!this.#stepping) void this.#run()
  }

  /** Steps until nothing more can be done before somebody wakes it: a request, a cancel, or a picture's embeddings. */
  async #run(): Promise<void> {
    this.#stepping = true
    while (this.#woken) {
      this.#woken = false
      this.#sweep()
      this.#admit()
      if (this.#viewersChanged) {
        this.#viewersChanged = false
        this.#pictures?.wake()
      }
      if (await this.#step()) this.#woken = true
      else {
        this.#encoder?.giveWay(false)
        this.#port.flush()
      }
    }
    this.#stepping = false
  }

  /** Drops requests that were cancelled or have failed. */
  #sweep(): void {
    for (const request of this.#requests.values()) {
      if (!request.over) continue
      this.#port.fail(request.id, request.abort.signal.aborted ? cancelled() : request.failure)
      for (const sequence of request.sequences) if (!sequence.ended) this.#release(sequence)
      this.#forgetRequest(request)
    }
  }

  /** In the order in which they came; but who does not fit yet lets a few pass that do. */
  #admit(): void {
    if (this.#waiting.length === 0) return
    let taken = this.#taken()
    const held: EngineRequest[] = []
    for (const request of [...this.#waiting]) {
      const running = this.#active.length
      if (running >= this.#config.maxSequences || held.some(({ overtaken }) => overtaken >= mostPass)) return
      const coming = request.sequences.filter(({ ended, slot }) => !ended && slot < 0)
      const needed = taken + this.#needed(coming)
      if (running > 0 && (running + coming.length > this.#config.maxSequences || needed > this.#kv.memory.cells)) {
        if (held.push(request) > mostPass) return
        continue
      }
      const known = this.#prefixes.held(request, pathOf(coming))
      if (this.#prefixes.promised(request, pathOf(coming)) >= known + worthWaiting) continue
      for (const passed of held) passed.overtaken++
      this.#waiting.splice(this.#waiting.indexOf(request), 1)
      this.#start(request, coming)
      taken = this.#taken()
    }
  }

  /** Cells that running sequences hold or will need soon. Stored prefixes do not count, since they go when need be. */
  #taken(): number {
    const held = this.#kv.memory.held(this.#active.map(({ slot }) => slot))
    return this.#active.reduce((sum, { remaining }) => sum + remaining + roomToGrow, held)
  }

  /**
   * Cells that these need beside them, with room to grow: without it a sequence that had to give way would come back at
   * once and be in the way again.
   */
  #needed(coming: readonly Sequence[]): number {
    return coming.reduce(
      (sum, { request, cells }) => sum + cells.length - this.#prefixes.held(request, cells) + roomToGrow,
      0,
    )
  }

  #start(request: EngineRequest, coming: readonly Sequence[]): void {
    let cached = Number.POSITIVE_INFINITY
    for (const sequence of coming) {
      sequence.slot = this.#kv.take()
      sequence.filled = this.#prefixes.give(sequence)
      this.#active.push(sequence)
      // Answers that have no cells yet wait for the first to compute the prompt, and share it then.
      if (sequence.cells.length > 0) cached = Math.min(cached, sequence.filled)
    }
    request.known = cached
    this.#viewersChanged = true
    if (request.admitted > 0) return
    request.admitted = performance.now()
    const { cells, imageTokens } = request.prompt
    this.#port.emit(request.id, {
      type: 'prompt',
      promptTokens: cells.length,
      cachedTokens: cached,
      imageTokens,
    })
  }

  /** Of those who wait only as many have pictures encoded as would fill the KV memory: embeddings take memory too. */
  #viewers(): Viewers {
    let room = this.#kv.memory.cells
    const next = this.#waiting.filter(({ prompt }) => {
      const near = room > 0
      room -= prompt.cells.length
      return near
    })
    return { running: [...new Set(this.#active.map(({ request }) => request))], next }
  }

  /** One step. @returns whether it did anything */
  async #step(): Promise<boolean> {
    const { tokens, embeddings, answering } = this.#batch.fill(this.#active)
    if (tokens.rows === 0 && embeddings.rows === 0) return false
    const start = performance.now()
    for (const part of [tokens, embeddings]) {
      if (part.rows === 0) continue
      if (!(await this.#decode(part, part.rows > answering))) {
        this.#makeRoom()
        return true
      }
      for (const { sequence, count, row, foretold } of part.entries) {
        sequence.filled += count
        this.#kv.memory.extend(sequence.slot, count)
        for (const { cell, row } of foretold) this.#tellPrompt(sequence, cell, row)
        if (row !== undefined) this.#sample(sequence, row)
      }
    }
    const encoding = this.#encoder?.busy ?? false
    this.#size.learn(answering, tokens.rows + embeddings.rows - answering, performance.now() - start, encoding)
    return true
  }

  async #decode({ batch, rows, mutual }: Part, prefills: boolean): Promise<boolean> {
    const encoding = this.#encoder?.busy ?? false
    const threads = this.#cores.forDecoding(encoding && !prefills, rows)
    this.#decoder.setThreads(threads)
    this.#encoder?.giveWay(true)
    const start = performance.now()
    const decoding = this.#decoder.decode(batch, mutual)
    // What the step before said goes out while this one runs.
    this.#port.flush()
    const done = await decoding
    if (done && !encoding) this.#cores.decoded(threads, rows, performance.now() - start)
    return done
  }

  /** The KV memory is full: a stored prefix goes, or else the youngest sequence starts over when there is room again. */
  #makeRoom(): void {
    if (this.#kv.evict()) return
    const youngest = this.#active.at(-1)
    if (youngest === undefined) throw new Error('the KV memory is full of nothing')
    if (this.#active.length === 1) {
      this.#end(youngest, 'length')
      return
    }
    const { request } = youngest
    // Before the prompt is computed one sequence has all of its cells, and the others cannot do without it.
    const leaving = request.firstToken === 0 ? request.sequences.filter(({ slot }) => slot >= 0) : [youngest]
    for (const sequence of leaving) this.#retire(sequence)
    if (!this.#waiting.includes(request)) this.#waiting.unshift(request)
  }

  /** Takes a sequence out of the KV memory; its cells stay known, so that it can go on later. */
  #retire(sequence: Sequence): void {
    this.#viewersChanged = true
    this.#active = this.#active.filter((other) => other !== sequence)
    this.#kv.free(sequence.slot)
    sequence.slot = -1
    sequence.filled = 0
  }

  #tellPrompt({ request, cells }: Sequence, cell: number, row: number): void {
    const { vocabulary } = this.#decoder
    const top = request.spec.topLogprobs ?? 0
    if (request.promptTokens !== null)
      request.promptTokens[cell] = answerToken(vocabulary, this.#decoder.logits(row), cells[cell] as number, top)
  }

  #sample(sequence: Sequence, row: number): void {
    const { request } = sequence
    if (request.firstToken === 0) {
      request.firstToken = performance.now()
      if (request.promptTokens !== null)
        this.#port.emit(request.id, { type: 'prompt_logprobs', tokens: request.promptTokens })
      this.#fork(sequence, row)
    }
    this.#take(sequence, row)
  }

  /** The prompt is computed: the other answers share it, and take their first token from the same logits. */
  #fork(first: Sequence, row: number): void {
    const length = first.cells.length
    const time = first.request.prompt.positions.time(length)
    for (const sequence of first.request.sequences) {
      if (sequence === first) continue
      for (const cell of first.cells) sequence.cells.push(cell)
      this.#kv.memory.share(first.slot, sequence.slot, length, time)
      sequence.filled = length
      this.#take(sequence, row)
    }
  }

  #take(sequence: Sequence, row: number): void {
    const { request } = sequence
    const { vocabulary } = this.#decoder
    if (request.failure !== undefined) return
    let token: number | null
    try {
      token = this.#decoder.sample(sequence.sampler, row)
    } catch (error) {
      request.failure = error
      return
    }
    if (token === null) {
      this.#end(sequence, 'stop')
      return
    }
    sequence.generated++
    if (vocabulary.isEnd(token) && !request.spec.ignoreEos) {
      this.#end(sequence, 'stop')
      return
    }
    sequence.cells.push(token)
    const bytes = vocabulary.bytes(token, request.shownTokens.has(token))
    if (request.spec.topLogprobs !== null)
      sequence.heldTokens.push(answerToken(vocabulary, this.#decoder.logits(row), token, request.spec.topLogprobs))
    this.#say(sequence, sequence.text.push(bytes))
    if (sequence.text.stopped) this.#end(sequence, 'stop')
    else if (sequence.generated >= request.maxTokens) this.#end(sequence, 'length')
  }

  /** @param last whether the tokens that have no text go out too: what is no part of a stop string is told at the end */
  #say(sequence: Sequence, text: string, last = false): void {
    if (text === '' && !(last && sequence.heldTokens.length > 0)) return
    const { request, choice, generated, heldTokens: tokens } = sequence
    sequence.heldTokens = []
    this.#port.emit(request.id, { type: 'text', choice, text, tokens, generated })
  }

  #end(sequence: Sequence, reason: 'stop' | 'length'): void {
    const { request, choice, generated: completionTokens } = sequence
    this.#say(sequence, sequence.text.finish(), !sequence.text.stopped)
    const stop = sequence.text.stoppedBy
    this.#port.emit(request.id, { type: 'end', choice, reason, stop, completionTokens })
    this.#release(sequence)
    if (!request.finished) return
    this.#port.emit(request.id, { type: 'done', timings: request.timings() })
    this.#forgetRequest(request)
  }

  /** A sequence is over: what it computed is stored for prompts that begin alike, or forgotten. */
  #release(sequence: Sequence): void {
    sequence.ended = true
    sequence.sampler.free()
    if (sequence.slot < 0) return
    this.#active = this.#active.filter((other) => other !== sequence)
    const { cachePrompt, cacheKey } = sequence.request.spec
    const path = Float64Array.from(sequence.cells.slice(0, sequence.filled))
    if (cachePrompt) this.#kv.store(cacheKey, path, sequence.slot)
    else this.#kv.free(sequence.slot)
    sequence.slot = -1
  }

  #forgetRequest(request: EngineRequest): void {
    this.#viewersChanged = true
    request.abort.abort()
    this.#requests.delete(request.id)
    const at = this.#waiting.indexOf(request)
    if (at >= 0) this.#waiting.splice(at, 1)
  }
}

/** What the first of these needs in memory: its prompt, and what it had answered if it must start over. */
const pathOf = (coming: readonly Sequence[]): ArrayLike<number> =>
  coming.find(({ cells }) => cells.length > 0)?.cells ?? []
