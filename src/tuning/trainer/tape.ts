import type { Context, Ggml, Graph, Tensor } from '../../native/index.ts'

/** A tensor of a graph. `shape` is ggml's: the fastest axis comes first. */
export interface Value {
  readonly tensor: Tensor
  readonly shape: Shape
  /** Whether parameters, or other values with gradients, have gone into it. */
  readonly isLearned: boolean
}

export type Shape = readonly [number, number, number, number]

/** A matrix that is not trained: `[inputs, outputs]`, and the same turned, which gradients go back through. */
export interface Frozen {
  readonly matrix: Tensor
  readonly turned: Tensor
  readonly outputs: number
}

/** The matrices that LoRA adds to a frozen one, and where their gradients are added up. */
export interface Pair {
  /** `[inputs, rank]` */
  readonly a: Tensor
  /** `[outputs, rank]`: the second matrix of LoRA, turned. */
  readonly b: Tensor
  readonly gradientOfA: Tensor
  readonly gradientOfB: Tensor
  /** What both products together are multiplied with. */
  readonly scale: number
}

/** How queries and keys are turned by their positions. */
export interface Rope {
  /** `GGML_ROPE_TYPE_…` */
  readonly mode: number
  readonly dims: number
  readonly base: number
  readonly scale: number
  /** Of M-RoPE. */
  readonly sections: Int32Array | null
}

export interface AttentionShape {
  readonly heads: number
  readonly keyHeads: number
  readonly head: number
  readonly scale: number
}

/** Cells whose queries are computed together, and the cells that they see at most. */
export interface AttentionPart {
  readonly from: number
  readonly count: number
  readonly keysFrom: number
  readonly keys: number
}

export interface MaskedPart extends AttentionPart {
  /** `[keys, count]`: what is added to the scores. */
  readonly mask: Tensor
}

interface Step {
  readonly of: Value
  readonly back: (gradient: Tensor) => void
}

/**
 * A graph that is built together with its gradients. Each operation notes how the gradient of its result becomes those of
 * what it took. ggml's own backward pass would do this too, but multiplies gradients by outer products over the tokens,
 * which are several times slower on CPUs than the product with a turned matrix.
 */
export class Tape {
  readonly #ggml: Ggml
  readonly #context: Context
  readonly #graph: Graph
  readonly #gradientScale: number
  #steps: Step[] | null
  #gradients = new Map<Value, Tensor>()

  /**
   * @param isTraining otherwise nothing is noted, and only the results are computed
   * @param gradientScale what gradients are larger by on their way. Those of parameters are not
   */
  constructor(ggml: Ggml, context: Context, graph: Graph, isTraining: boolean, gradientScale: number) {
    this.#ggml = ggml
    this.#context = context
    this.#graph = graph
    this.#gradientScale = gradientScale
    this.#steps = isTraining ? [] : null
  }

  /** A tensor that is written before the graph runs. */
  input(type: number, shape: Shape): Value {
    const tensor = this.#ggml.newTensor4d(this.#context, type, ...shape)
    this.#ggml.setInput(tensor)
    return { tensor, shape, isLearned: false }
  }

  /** Makes a value one that is read after the graph ran. */
  output(value: Value): void {
    this.#ggml.setOutput(value.tensor)
    this.#run(value.tensor)
  }

  /** `[inputs, tokens]` -> `[outputs, tokens]` */
  linear(x: Value, { matrix, turned, outputs }: Frozen): Value {
    const { ggml, context } = this.#parts
    return this.#note(ggml.mulMat(context, matrix, x.tensor), [outputs, x.shape[1], 1, 1], [x], (gradient) =>
      this.#give(x, () => ggml.mulMat(context, turned, gradient)),
    )
  }

  /** As `linear`, with what LoRA adds. */
  adapted(x: Value, frozen: Frozen, pair: Pair | undefined): Value {
    const plain = this.linear(x, frozen)
    if (pair === undefined) return plain
    return this.add(plain, this.lowRank(x, pair, plain.shape))
  }

  /** What LoRA alone makes of a value. @param shape of the result: `[outputs, tokens]` */
  lowRank(x: Value, { a, b, gradientOfA, gradientOfB, scale }: Pair, shape: Shape): Value {
    const { ggml, context } = this.#parts
    const narrow = ggml.scale(context, ggml.mulMat(context, a, x.tensor), scale)
    const added = ggml.mulMat(context, this.#turned(b), narrow)
    return this.#note(added, shape, 'parameters', (gradient) => {
      const back = ggml.scale(context, ggml.mulMat(context, b, gradient), scale)
      const plainly = (tensor: Tensor): Tensor => ggml.scale(context, tensor, 1 / this.#gradientScale)
      this.#run(ggml.addInplace(context, gradientOfB, ggml.outProd(context, gradient, plainly(narrow))))
      this.#run(ggml.addInplace(context, gradientOfA, ggml.outProd(context, x.tensor, plainly(back))))
      this.#give(x, () => ggml.mulMat(context, this.#turned(a), back))
    })
  }

  add(x: Value, y: Value): Value {
    const { ggml, context } = this.#parts
    return this.#note(ggml.add(context, x.tensor, y.tensor), x.shape, [x, y], (gradient) => {
      this.#give(x, () => gradient)
      this.#give(y, () => gradient)
    })
  }

  /** Adds the same `[width]` to all tokens. */
  addBias(x: Value, bias: Tensor): Value {
    const { ggml, context } = this.#parts
    return this.#note(ggml.add(context, x.tensor, bias), x.shape, [x], (gradient) => this.#give(x, () => gradient))
  }

  /** The root mean square norm over the first axis. @param weight of as many numbers */
  rmsNorm(x: Value, weight: Tensor, epsilon: number): Value {
    const { ggml, context } = this.#parts
    const normed = ggml.mul(context, ggml.rmsNorm(context, x.tensor, epsilon), weight)
    return this.#note(normed, x.shape, [x], (gradient) =>
      this.#give(x, () => ggml.rmsNormBack(context, ggml.mul(context, gradient, weight), x.tensor, epsilon)),
    )
  }

  /** @param x `[head, heads, tokens]` */
  rope(x: Value, positions: Tensor, factors: Tensor | null, { mode, dims, base, scale, sections }: Rope): Value {
    const { ggml, context } = this.#parts
    const scaling = [mode, 0, base, scale, 0, 1, 0, 0] as const
    const turned =
      sections === null
        ? ggml.ropeExt(context, x.tensor, positions, factors, dims, ...scaling)
        : ggml.ropeMulti(context, x.tensor, positions, null, dims, sections, ...scaling)
    return this.#note(turned, x.shape, [x], (gradient) =>
      this.#give(x, () =>
        sections === null
          ? ggml.ropeExtBack(context, gradient, positions, factors, dims, ...scaling)
          : ggml.ropeMultiBack(context, gradient, positions, null, dims, sections, ...scaling),
      ),
    )
  }

  /**
   * Part by part: no query is multiplied with the keys that only later ones see. Heads that share a key are one product with
   * it, so their queries follow each other.
   * @param q `[head, heads, tokens]`
   * @param k `[head, key heads, tokens]`, and so is v
   * @returns `[head * heads, tokens]`
   */
  attention(q: Value, k: Value, v: Value, parts: readonly MaskedPart[], shape: AttentionShape): Value {
    const { ggml, context } = this.#parts
    const { heads, keyHeads, head, scale } = shape
    const tokens = q.shape[2]
    const byHead = (tensor: Tensor): Tensor => ggml.cont(context, ggml.permute(context, tensor, 0, 2, 1, 3))
    const [queries, keys, values] = [byHead(q.tensor), byHead(k.tensor), byHead(v.tensor)]
    const turnedValues = this.#turned(values)
    // Of `[head, tokens, …]`, or turned.
    const some = (of: Tensor, { keysFrom, keys }: AttentionPart): Tensor =>
      ggml.view3d(context, of, head, keys, keyHeads, head * 4, head * tokens * 4, keysFrom * head * 4)
    const someTurned = (of: Tensor, { keysFrom, keys }: AttentionPart): Tensor =>
      ggml.view3d(context, of, keys, head, keyHeads, tokens * 4, head * tokens * 4, keysFrom * 4)
    const joined = (all: readonly Tensor[], axis: number): Tensor =>
      all.reduce((before, next) => ggml.concat(context, before, next, axis))

    const made = parts.map((part) => {
      const { from, count, keys: seen, mask } = part
      const grouped = (tensor: Tensor, width: number): Tensor =>
        ggml.reshape3d(context, tensor, width, (count * heads) / keyHeads, keyHeads)
      const apart = (tensor: Tensor, width: number): Tensor => ggml.reshape3d(context, tensor, width, count, heads)
      const own = ggml.view3d(context, queries, head, count, heads, head * 4, head * tokens * 4, from * head * 4)
      const asking = grouped(parts.length === 1 ? queries : ggml.cont(context, own), head)
      const scores = ggml.softMaxExt(
        context,
        apart(ggml.mulMat(context, some(keys, part), asking), seen),
        mask,
        scale,
        0,
      )
      const shares = grouped(scores, seen)
      const found = apart(ggml.mulMat(context, someTurned(turnedValues, part), shares), head)
      return { part, grouped, apart, asking, scores, shares, found: byHead(found) }
    })
    const width = head * heads
    const result = joined(
      made.map(({ part, found }) => ggml.reshape2d(context, found, width, part.count)),
      1,
    )
    return this.#note(result, [width, tokens, 1, 1], [q, k, v], (gradient) => {
      const turnedKeys = this.#turned(keys)
      const back = made.map(({ part, grouped, apart, asking, scores, shares }) => {
        const own = ggml.view2d(context, gradient, width, part.count, width * 4, part.from * width * 4)
        const ofFound = grouped(byHead(ggml.reshape3d(context, own, head, heads, part.count)), head)
        const ofShares = apart(ggml.mulMat(context, some(values, part), ofFound), part.keys)
        const ofScores = ggml.softMaxExtBack(context, ofShares, scores, scale, 0)
        // Before the last use of the scores: ggml would write the result over them, and reads them after it has begun to.
        this.#run(ofScores)
        const ofProducts = grouped(ofScores, part.keys)
        return {
          part,
          q: byHead(apart(ggml.mulMat(context, someTurned(turnedKeys, part), ofProducts), head)),
          k: ggml.outProd(context, asking, ofProducts),
          v: ggml.outProd(context, ofFound, shares),
        }
      })
      const sum = (like: Tensor, of: 'k' | 'v'): Tensor => {
        const [first] = back
        if (back.length === 1 && first !== undefined) return first[of]
        let whole = ggml.scale(context, like, 0)
        for (const one of back) {
          const [row, plane, at] = [head * 4, head * tokens * 4, one.part.keysFrom * head * 4]
          whole = ggml.accInplace(context, whole, one[of], row, plane, plane * keyHeads, at)
        }
        return whole
      }
      this.#give(v, () => byHead(sum(values, 'v')))
      this.#give(q, () =>
        joined(
          back.map((one) => one.q),
          2,
        ),
      )
      this.#give(k, () => byHead(sum(keys, 'k')))
    })
  }

  /** `silu(gate) * up` */
  swiglu(gate: Value, up: Value): Value {
    const { ggml, context } = this.#parts
    const result = ggml.swigluSplit(context, gate.tensor, up.tensor)
    return this.#note(result, gate.shape, [gate, up], (gradient) => {
      this.#give(up, () => ggml.mul(context, ggml.silu(context, gate.tensor), gradient))
      this.#give(gate, () => ggml.siluBack(context, ggml.mul(context, gradient, up.tensor), gate.tensor))
    })
  }

  /** Some tokens of `[width, tokens]`. @param rows their indices */
  rows(x: Value, rows: Value): Value {
    const { ggml, context } = this.#parts
    const picked = ggml.getRows(context, x.tensor, rows.tensor)
    return this.#note(picked, [x.shape[0], rows.shape[0], 1, 1], [x], (gradient) =>
      this.#give(x, () => ggml.getRowsBack(context, gradient, rows.tensor, x.tensor)),
    )
  }

  reshape(x: Value, shape: Shape): Value {
    const { ggml, context } = this.#parts
    return this.#note(ggml.reshape4d(context, x.tensor, ...shape), shape, [x], (gradient) =>
      this.#give(x, () => ggml.reshape4d(context, gradient, ...x.shape)),
    )
  }

  /**
   * A part of the graph of which only what goes in is kept for the gradients. The rest is computed again when they are, so
   * that memory holds what one part computes and not what all do.
   */
  recomputed(x: Value, part: (x: Value) => Value): Value {
    if (this.#steps === null) return part(x)
    const steps = this.#steps
    this.#steps = null
    const { tensor, shape } = part(x)
    this.#steps = steps
    this.#run(tensor)
    return this.#note(tensor, shape, 'parameters', (gradient) => {
      const [steps, gradients] = [this.#steps, this.#gradients]
      this.#steps = []
      this.#gradients = new Map()
      // Not the same value: its own steps belong to the outer tape.
      const again: Value = { ...x }
      this.backward([{ of: part(again), gradient }])
      const back = this.#gradients.get(again)
      this.#steps = steps
      this.#gradients = gradients
      if (back !== undefined) this.#give(x, () => back)
    })
  }

  /** Adds to the graph everything that makes the gradients of parameters, from those of results. */
  backward(results: readonly { readonly of: Value; readonly gradient: Tensor }[]): void {
    const steps = this.#steps ?? []
    this.#steps = null
    for (const { of, gradient } of results) this.#gradients.set(of, gradient)
    for (const { of, back } of steps.toReversed()) {
      const gradient = this.#gradients.get(of)
      this.#gradients.delete(of)
      if (gradient !== undefined) back(gradient)
    }
    for (const tensor of this.#gradients.values()) this.#run(tensor)
  }

  get #parts(): { ggml: Ggml; context: Context } {
    return { ggml: this.#ggml, context: this.#context }
  }

  /** @param from what it was computed from; `parameters` if these are among it */
  #note(tensor: Tensor, shape: Shape, from: readonly Value[] | 'parameters', back: Step['back']): Value {
    const isLearned = from === 'parameters' || from.some((value) => value.isLearned)
    const value: Value = { tensor, shape, isLearned }
    if (isLearned) this.#steps?.push({ of: value, back })
    return value
  }

  /** Adds to the gradient of a value, if it has one at all. */
  #give(to: Value, gradient: () => Tensor): void {
    if (!to.isLearned) return
    const before = this.#gradients.get(to)
    const more = gradient()
    this.#gradients.set(to, before === undefined ? more : this.#ggml.add(this.#context, before, more))
  }

  #turned(tensor: Tensor): Tensor {
    return this.#ggml.cont(this.#context, this.#ggml.permute(this.#context, tensor, 1, 0, 2, 3))
  }

  /** The order in which tensors are added to the graph is the order in which they are computed. */
  #run(tensor: Tensor): void {
    this.#ggml.buildForwardExpand(this.#graph, tensor)
  }
}
