import type { ImageArchitecture } from '../../src/encoders/index.ts'
import type { AttachmentEncoder } from '../../src/engine/encoder.ts'
import type { ImageAttachment } from '../../src/engine/index.ts'
import type { Adapter, Decoder, TokenSampler, UsedAdapter } from '../../src/language/index.ts'
import type { Batch, Position } from '../../src/native/index.ts'
import { pixels } from './pixels.ts'

/** Rows that the model computes in no more time than fewer. */
const tileRows = 6

/**
 * A simulation of llama.cpp's unified KV memory, and of a model whose next token is a hash of all cells of its sequence.
 * A missing, extra or foreign cell changes every later token.
 */
export class KvModel {
  readonly decoder: Decoder
  /** `undefined` is a free cell. */
  readonly #cells: ({ position: Position; content: number; sequences: Set<number> } | undefined)[]
  readonly #stateful: boolean
  /** For each sequence, the time at which it can be continued. */
  readonly #states = new Map<number, number>()
  #rows: { hash: number }[] = []
  #computing = false
  readonly #samplers = new Set<Chooser>()

  /**
   * @param mixes whether one batch may hold tokens and embeddings
   * @param gridPositions whether an image's cells have rows and columns at one time
   * @param mutual whether one batch must hold all embeddings of a tile
   * @param slow whether some tokens are searched for in slices
   * @param stateful whether a sequence has a state of its end, without which it cannot be continued
   */
  constructor(
    cells: number,
    batchRows: number,
    mixes: boolean,
    gridPositions = false,
    mutual = false,
    slow = false,
    stateful = false,
  ) {
    this.#stateful = stateful
    this.#cells = Array.from({ length: cells }, () => undefined)
    this.decoder = {
      name: 'model',
      vocabulary,
      chatTemplate: null,
      contextTokens: cells,
      cells,
      width: 1,
      gridPositions,
      memory: { weightsBytes: 1e9, kvBytes: 0 },
      gpuLayers: 0,
      batchRows,
      // As on a CPU, where a few rows take longer than a tile of them.
      fastestRows: (rows) => (stateful ? rows : Math.max(rows, tileRows)),
      newTokenBatch: () => new Rows(batchRows, 0) as unknown as Batch,
      newEmbeddingBatch: () => new Rows(batchRows, 1) as unknown as Batch,
      stateful,
      tokenEmbedding: mixes ? (token) => Float32Array.of(token) : null,
      decode: async (batch, seeing = false, used = null) => {
        this.#atRest()
        this.#computing = true
        await new Promise((resolve) => setImmediate(resolve))
        this.#computing = false
        const { rows } = batch as unknown as Rows
        if (mutual) checkWholeTiles(rows, seeing)
        return this.#decode(rows.map((row) => ({ ...row, content: withAdapter(row.content, used) })))
      },
      loadAdapter: async (file) => {
        this.#atRest()
        return adapterOf(file)
      },
      freeAdapter: () => this.#atRest(),
      setThreads() {},
      logits: () => {
        this.#atRest()
        return new Float32Array(vocabulary.size)
      },
      sample: (sampler, row) => {
        this.#atRest()
        const hash = this.#rows[row]?.hash ?? Number.NaN
        const token = (sampler as unknown as Chooser).next(hash)
        let slices = slow && hash % 3 === 0 ? hash % 7 : 0
        if (slices === 0) return token
        return {
          logits: new Float32Array(vocabulary.size),
          run: () => {
            if (!this.#samplers.has(sampler as unknown as Chooser)) throw new Error('a search goes on after its answer')
            return slices-- > 0 ? undefined : token
          },
        }
      },
      newSampler: ({ seed }) => {
        const chooser = new Chooser(seed ?? 0, () => {
          if (!this.#samplers.delete(chooser)) throw new Error('a sampler is freed twice')
        })
        this.#samplers.add(chooser)
        return chooser as unknown as TokenSampler
      },
      *readGrammar() {},
      share: (source, target, time) => this.#share(source, target, time),
      savedBytes: (sequence) => JSON.stringify(this.#held(sequence)).length,
      save: (sequence) => new TextEncoder().encode(JSON.stringify(this.#held(sequence))),
      restore: (sequence, state) => this.#restore(sequence, JSON.parse(new TextDecoder().decode(state))),
      stateBytes: () => 16,
      saveState: async (sequence) => {
        this.#atRest()
        this.#computing = true
        await new Promise((resolve) => setImmediate(resolve))
        this.#computing = false
        return Float64Array.of(hashOf(this.#pathOf(sequence)), this.#states.get(sequence) ?? 0) as never
      },
      restoreState: (sequence, state) => {
        const [hash, time] = state as never as Float64Array
        this.#states.set(sequence, time ?? Number.NaN)
        const path = this.#held(sequence).filter(({ position }) => position.time < (time ?? 0))
        if (hashOf(path.map(({ content }) => content)) !== hash) throw new Error('a state is of other cells')
      },
      truncate: (sequence, time) => this.#forget(sequence, time),
      forget: (sequence) => this.#forget(sequence, 0),
      close() {},
    } satisfies Decoder
  }

  /** Samplers that are not freed. */
  get samplers(): number {
    return this.#samplers.size
  }

  get freeCells(): number {
    return this.#cells.filter((cell) => cell === undefined).length
  }

  /** Memory and logits are native code's while it computes. */
  #atRest(): void {
    if (this.#computing) throw new Error('the model is used during a step')
  }

  #decode(rows: readonly Row[]): boolean {
    if (this.freeCells < rows.length) return false
    this.#rows = rows.map(({ content, position, sequence }) => {
      const held = this.#held(sequence).map((cell) => cell.position)
      if (!follows(position, held))
        throw new Error(`${JSON.stringify(position)} does not follow ${JSON.stringify(held)}`)
      if (this.#stateful && (this.#states.get(sequence) ?? 0) !== endOf(held))
        throw new Error(`a sequence goes on at ${endOf(held)} with a state of ${this.#states.get(sequence)}`)
      this.#cells[this.#cells.indexOf(undefined)] = { position, content, sequences: new Set([sequence]) }
      this.#states.set(sequence, endOf([...held, position]))
      return { hash: hashOf(this.#pathOf(sequence)) }
    })
    return true
  }

  /** A sequence's cells in the order of their positions. */
  #held(sequence: number) {
    this.#atRest()
    return this.#cells
      .filter((cell) => cell !== undefined)
      .filter((cell) => cell.sequences.has(sequence))
      .toSorted(({ position: a }, { position: b }) => a.time - b.time || a.row - b.row || a.column - b.column)
  }

  #pathOf(sequence: number): number[] {
    const held = this.#held(sequence)
    held.forEach(({ position }, at) => {
      const before = held.slice(0, at).map((cell) => cell.position)
      if (!follows(position, before)) throw new Error(`sequence ${sequence} has a gap or a duplicate at ${at}`)
    })
    return held.map(({ content }) => content)
  }

  #share(source: number, target: number, time: number): void {
    if (this.#held(target).length > 0) throw new Error('the target of a share is not empty')
    const shared = this.#held(source).filter(({ position }) => position.time < time)
    if (endOf(shared.map(({ position }) => position)) !== time) throw new Error('more cells are shared than exist')
    for (const { sequences } of shared) sequences.add(target)
    this.#states.set(target, this.#states.get(source) ?? 0)
  }

  #restore(sequence: number, saved: readonly { position: Position; content: number }[]): boolean {
    if (this.#held(sequence).length > 0) throw new Error('the target of a copy is not empty')
    if (this.freeCells < saved.length) return false
    for (const { position, content } of saved)
      this.#cells[this.#cells.indexOf(undefined)] = { position, content, sequences: new Set([sequence]) }
    this.#states.set(sequence, endOf(saved.map(({ position }) => position)))
    return true
  }

  /** @param from the first time that is removed */
  #forget(sequence: number, from: number): void {
    this.#atRest()
    if (from === 0) this.#states.delete(sequence)
    else if (this.#stateful && (this.#states.get(sequence) ?? 0) > from) throw new Error('a state cannot go back')
    this.#cells.forEach((cell, at) => {
      if (cell === undefined || cell.position.time < from) return
      if (cell.sequences.delete(sequence) && cell.sequences.size === 0) this.#cells[at] = undefined
    })
  }
}

/** The time after the last of these cells. */
const endOf = (held: readonly Position[]): number => held.reduce((end, { time }) => Math.max(end, time + 1), 0)

/** The time after these positions: an image extends as far as its longer edge. */
const nextTime = (held: readonly Position[]): number =>
  held.reduce((next, { row, column }) => Math.max(next, row + 1, column + 1), 0)

/** Whether a position is the next one: a time of its own, or the next place of the last image. */
function follows({ time, row, column }: Position, held: readonly Position[]): boolean {
  if (time === nextTime(held)) return row === time && column === time
  const last = held.at(-1)
  const inRow = row === last?.row && column === last.column + 1
  return time === last?.time && (inRow || (row === last.row + 1 && column === time))
}

/** The adapters of the model, each with the number that its cells have in addition. */
const adapterNumbers = { left: 1e6, right: 2e6, late: 3e6 } as const
export type AdapterName = keyof typeof adapterNumbers

/** The character from whose last place on the adapter `late` is used. */
const invocation = 'c'.charCodeAt(0)

const adapterOf = (name: string): Adapter => ({
  native: adapterNumbers[name as AdapterName] as never,
  invocation: name === 'late' ? [invocation] : [],
  embeds: name === 'right',
})

const withAdapter = (content: number, used: UsedAdapter | null): number =>
  used === null ? content : content + Number(used.adapter.native) * used.scale

/** The contents of a prompt's cells, and what is added to those of the answer. */
export function adaptedContents(contents: readonly number[], name: AdapterName | null): [number[], number] {
  if (name === null) return [[...contents], 0]
  const from = name === 'late' ? contents.lastIndexOf(invocation) : 0
  const added = from < 0 ? 0 : adapterNumbers[name]
  return [contents.map((content, at) => (at < from ? content : content + added)), added]
}

/**
 * The answer to a request that runs alone, token by token.
 * @param contents of the prompt's cells
 * @param added to the contents of the answer's
 */
export function answerAlone(
  contents: readonly number[],
  seed: number,
  maxTokens: number,
  stop: readonly string[] = [],
  added = 0,
): string {
  const path = [...contents]
  const chooser = new Chooser(seed)
  let text = ''
  while (text.length < maxTokens) {
    const token = chooser.next(hashOf(path))
    if (token === end) break
    text += String.fromCharCode(token)
    const stopped = stop.find((one) => text.endsWith(one))
    if (stopped !== undefined) return text.slice(0, -stopped.length)
    path.push(token + added)
  }
  return text
}

const firstPlace = 1000
export const imageWidths = [3, 17]

/** Embeddings of an image, one number for each of its places. */
export const embeddingsOf = (hash: string, tokens: number): Float32Array =>
  Float32Array.from({ length: tokens }, (_, place) => firstPlace + Number(hash) * 100 + place)

/** An image has one token for each pixel of its width, in two tiles. The second tile has two rows if possible. */
export const architecture = {
  name: 'model',
  width: 1,
  longestEdge: 64,
  plan(original, detail) {
    const tile = (x: number, tokens: number) => {
      const rows = tokens % 2 === 0 ? 2 : 1
      return { image: 0, x, y: 0, size: original, tokens, places: { rows, columns: tokens / rows } }
    }
    const layout = ['<', tile(0, 1), '|', tile(1, original.width - 1), '>']
    return { original, detail, name: `${original.width}`, layout }
  },
} as Partial<ImageArchitecture> as ImageArchitecture

/** @param hash a number as text, which names the image's embeddings */
export const imageOf = (hash: string, width: number): ImageAttachment => ({
  kind: 'image',
  width,
  height: 1,
  hash,
  detail: 'auto',
  pixels: pixels(new Uint8Array()),
})

/** Encodes each tile in some ticks, and caches nothing. @param order receives each tile's key */
export function slowEncoder(ticks: number, order: string[] = []): AttachmentEncoder {
  let busy = false
  return {
    get busy() {
      return busy
    },
    adopt() {},
    cachedBytes: 0,
    cached: () => undefined,
    has: () => false,
    letGo() {},
    opening: () => null,
    giveWay() {},
    async encode(span) {
      if (busy) throw new Error('two parts at once')
      if (span.kind !== 'image') throw new Error('only images are encoded')
      const { key, attachment, plan, tile } = span
      busy = true
      order.push(key)
      for (let tick = 0; tick < ticks; tick++) await new Promise((resolve) => setImmediate(resolve))
      busy = false
      const embeddings = embeddingsOf(attachment.hash, plan.original.width).subarray(tile.x, tile.x + tile.tokens)
      return { embeddings, ms: 1, preparingMs: 0 }
    },
  }
}

/** A mutual batch holds whole tiles, and others hold no embeddings. */
function checkWholeTiles(rows: readonly Row[], mutual: boolean): void {
  if (rows.some(({ content }) => content >= firstPlace !== mutual)) throw new Error('text and images in one batch')
  if (!mutual) return
  for (const reader of new Set(rows.map(({ sequence }) => sequence))) {
    const places = rows.filter(({ sequence }) => sequence === reader).map(({ content }) => content % 100)
    const whole = places[0] === 0 ? [1] : imageWidths.map((width) => width - 1)
    if (!whole.includes(places.length)) throw new Error(`a tile is cut: ${places}`)
  }
}

interface Row {
  content: number
  position: Position
  sequence: number
}

/** The surface of `native/`'s Batch without native memory. */
class Rows {
  readonly capacity: number
  readonly width: number
  rows: Row[] = []

  constructor(capacity: number, width: number) {
    this.capacity = capacity
    this.width = width
  }

  get size(): number {
    return this.rows.length
  }

  get room(): number {
    return this.capacity - this.rows.length
  }

  clear(): void {
    this.rows = []
  }

  addToken(content: number, time: number, sequence: number): number {
    return this.#add(content, { time, row: time, column: time, image: 0 }, sequence)
  }

  addEmbedding(embedding: Float32Array, position: Position, sequence: number): number {
    return this.#add(embedding[0] ?? Number.NaN, position, sequence)
  }

  #add(content: number, position: Position, sequence: number): number {
    if (this.room === 0) throw new RangeError('the batch is full')
    return this.rows.push({ content, position, sequence }) - 1
  }
}

/** The number that ends an answer. */
const end = 0

class Chooser {
  readonly #seed: number
  readonly free: () => void

  constructor(seed: number, free = () => {}) {
    this.#seed = seed
    this.free = free
  }

  next(hash: number): number {
    const mixed = hashOf([hash, this.#seed])
    return mixed % 12 === 0 ? end : 97 + (mixed % 26)
  }
}

/** FNV-1a over 32-bit numbers. */
function hashOf(numbers: readonly number[]): number {
  let hash = 0x811c9dc5
  for (const number of numbers)
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((number >>> shift) & 255), 0x01000193) >>> 0
  return hash
}

const vocabulary: Decoder['vocabulary'] = {
  size: 128,
  bos: '',
  eos: '',
  addsBos: false,
  bosToken: 1,
  controlTokens: [],
  controlIds: [],
  tokenize: (text) => Int32Array.from(text, (character) => character.charCodeAt(0)),
  tokenizing(text, special) {
    return [this.tokenize(text, special)]
  },
  bytes: (token) => Uint8Array.of(token),
  longest: 4,
  around: { before: [], after: [] },
  endTokens: [end],
  isEnd: (token) => token === end,
}
