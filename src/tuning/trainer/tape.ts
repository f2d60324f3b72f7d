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
  readonly inputs: number
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
  readonly rank: number
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
  #steps: Step[] | null
  #gradients = new Map<Value, Tensor>()

  /** @param isTraining otherwise nothing is noted, and only the results are computed */
  constructor(ggml: Ggml, context: Context, graph: Graph, isTraining: boolean) {
    this.#ggml = ggml
    this.#context = context
    this.#graph = graph
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
    const { ggml, context } = this.#parts
    const { a, b, gradientOfA, gradientOfB, scale } = pair
    const narrow = ggml.scale(context, ggml.mulMat(context, a, x.tensor), scale)
    const added = ggml.mulMat(context, this.#turned(b), narrow)
    const learned = this.#note(added, plain.shape, 'parameters', (gradient) => {
      const back = ggml.scale(context, ggml.mulMat(context, b, gradient), scale)
      this.#run(ggml.addInplace(context, gradientOfB, ggml.outProd(context, gradient, narrow)))
      this.#run(ggml.addInplace(context, gradientOfA, ggml.outProd(context, x.tensor, back)))
      this.#give(x, () => ggml.mulMat(context, this.#turned(a), back))
    })
    return this.add(plain, learned)
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
   * Heads that share a key are one product with it: their queries follow each other.
   * @param q `[head, heads, tokens]`
   * @param k `[head, key heads, tokens]`, and so is v
   * @param mask `[tokens, tokens]`: what is added to the scores
   * @returns `[head * heads, tokens]`
   */
  attention(q: Value, k: Value, v: Value, mask: Tensor, { heads, keyHeads, head, scale }: AttentionShape): Value {
    const { ggml, context } = this.#parts
    const tokens = q.shape[2]
    const rows = (tokens * heads) / keyHeads
    const byHead = (tensor: Tensor): Tensor => ggml.cont(context, ggml.permute(context, tensor, 0, 2, 1, 3))
    const grouped = (tensor: Tensor, width: number): Tensor => ggml.reshape3d(context, tensor, width, rows, keyHeads)
    const apart = (tensor: Tensor, width: number): Tensor => ggml.reshape3d(context, tensor, width, tokens, heads)
    const queries = grouped(byHead(q.tensor), head)
    const keys = byHead(k.tensor)
    const values = byHead(v.tensor)
    const scores = ggml.softMaxExt(context, apart(ggml.mulMat(context, keys, queries), tokens), mask, scale, 0)
    const shares = grouped(scores, tokens)
    const seen = apart(ggml.mulMat(context, this.#turned(values), shares), head)
    const joined = ggml.reshape2d(context, byHead(seen), head * heads, tokens)
    return this.#note(joined, [head * heads, tokens, 1, 1], [q, k, v], (gradient) => {
      const ofSeen = grouped(byHead(ggml.reshape3d(context, gradient, head, heads, tokens)), head)
      const ofShares = apart(ggml.mulMat(context, values, ofSeen), tokens)
      const back = ggml.softMaxExtBack(context, ofShares, scores, scale, 0)
      // Before the last use of the scores: ggml would write the result over them, and reads them after it has begun to.
      this.#run(back)
      const ofScores = grouped(back, tokens)
      this.#give(v, () => byHead(ggml.outProd(context, ofSeen, shares)))
      this.#give(q, () => byHead(apart(ggml.mulMat(context, this.#turned(keys), ofScores), head)))
      this.#give(k, () => byHead(ggml.outProd(context, queries, ofScores)))
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
