import { EdgeKind, type Network } from './network.ts'

/**
 * A call of a rule, with all places that may have made it at the same byte: a node of a stack whose tops and bottoms are
 * shared. However many ways there are to match a text, there is one call for each rule and byte.
 */
interface Call {
  readonly id: number
  readonly rule: number
  /** States after the call, and the calls that they belong to. */
  readonly returns: number[]
  readonly callers: Call[]
  /** Whether the text may end with the rule. */
  ends: boolean
}

/** A call made at the current byte. */
interface MadeCall extends Call {
  /** Whether its rule may end without reading anything. */
  empty: boolean
}

/** All ways to match a text so far. Equal states are the same object. */
export interface State {
  /** States of the network that read something, and the calls that they belong to. */
  readonly places: readonly number[]
  readonly calls: readonly Call[]
  /** Whether the text may end here. */
  readonly complete: boolean
  /** Whether a place reads a whole token. */
  readonly readsTokens: boolean
  /** States by the next byte; null: no text goes on with it; undefined: not known yet. */
  readonly next: (State | null | undefined)[]
  /** A bit for each token that may come next, once it is known. */
  allowed: Uint32Array | undefined
}

/** Approximate memory of an automaton of which nothing is known. */
const leastBytes = 5000

/** Thrown when a byte or a token takes more work than `Automaton.limit` allows. Nothing has changed then. */
export class TooMuchWork extends Error {}

/**
 * Follows a grammar byte by byte. What it finds is kept and used again, by all answers with this grammar: after a few
 * tokens a byte takes nanoseconds. The work of each byte is counted and bounded, whatever the grammar is.
 */
export class Automaton {
  readonly start: State
  /** Work so far, in edges of the network. A new byte of JSON takes about 50; 20,000 take about 10 ms. */
  work = 0
  /** The work at which `step` gives up. */
  limit = Infinity
  /** Approximate memory of what is known. */
  knownBytes = 0
  /** How often all states were forgotten. */
  forgotten = 0
  readonly #network: Network
  #calls = new Map<string, Call>()
  #states = new Map<string, State>()
  #ids = 0

  /** @param limit work for the first state @throws TooMuchWork */
  constructor(network: Network, limit: number) {
    this.#network = network
    this.limit = limit
    const bottom: Call = { id: this.#ids++, rule: network.root, returns: [], callers: [], ends: true }
    this.start = this.#closed([network.starts[network.root] as number], [bottom]) ?? {
      places: [],
      calls: [],
      complete: false,
      readsTokens: false,
      next: [],
      allowed: undefined,
    }
  }

  /** Approximate memory that it takes. */
  get bytes(): number {
    return leastBytes + this.#network.bytes + this.knownBytes
  }

  /** @returns the state after one more byte; null if no text goes on with it @throws TooMuchWork */
  step(state: State, byte: number): State | null {
    const known = state.next[byte]
    if (known !== undefined) return known
    const places: number[] = []
    const calls: Call[] = []
    const { firsts, edges } = this.#network
    for (let i = 0; i < state.places.length; i++)
      for (let edge = firsts.at(state.places[i] as number); edge >= 0; edge = edges.at(edge + 4)) {
        this.work++
        if (edges.at(edge) > EdgeKind.branch || byte < edges.at(edge + 1) || byte > edges.at(edge + 2)) continue
        places.push(edges.at(edge + 3))
        calls.push(state.calls[i] as Call)
      }
    const next = places.length === 0 ? null : this.#closed(places, calls)
    state.next[byte] = next
    return next
  }

  /** @param plain the state after the token's bytes @returns the state after a token, read as such or by its bytes */
  stepToken(state: State, token: number, plain: State | null): State | null {
    if (!state.readsTokens) return plain
    const places = [...(plain?.places ?? [])]
    const calls = [...(plain?.calls ?? [])]
    const { firsts, edges } = this.#network
    for (const [i, place] of state.places.entries())
      for (let edge = firsts.at(place); edge >= 0; edge = edges.at(edge + 4)) {
        const [kind, named] = [edges.at(edge), edges.at(edge + 1)]
        if (named === token ? kind !== EdgeKind.token : kind !== EdgeKind.otherToken) continue
        places.push(edges.at(edge + 3))
        calls.push(state.calls[i] as Call)
      }
    return places.length === (plain?.places.length ?? 0) ? plain : this.#closed(places, calls, plain?.complete)
  }

  /** The tokens that a state reads as such, or reads all others instead. */
  namedTokens(state: State): { token: number; except: boolean }[] {
    const { firsts, edges } = this.#network
    const named: { token: number; except: boolean }[] = []
    for (const place of state.readsTokens ? state.places : [])
      for (let edge = firsts.at(place); edge >= 0; edge = edges.at(edge + 4))
        if (edges.at(edge) >= EdgeKind.token)
          named.push({ token: edges.at(edge + 1), except: edges.at(edge) === EdgeKind.otherToken })
    return named
  }

  /** Forgets all states. Those that are in use stay valid. */
  forget(): void {
    for (const state of [this.start, ...this.#states.values()]) {
      state.next.fill(undefined)
      state.allowed = undefined
    }
    this.#states.clear()
    this.#calls.clear()
    this.knownBytes = 0
    this.forgotten++
  }

  /** Follows all edges that read nothing. @returns null if nothing can follow and the text may not end */
  #closed(places: readonly number[], calls: readonly Call[], ended = false): State | null {
    const { starts, firsts, edges, size: count } = this.#network
    const seen = new Set<number>()
    const made = new Map<number, MadeCall>()
    const firstMade = this.#ids
    const todo: number[] = []
    const owners: Call[] = []
    const reach = (place: number, call: Call): void => {
      const key = call.id * count + place
      if (seen.has(key)) return
      seen.add(key)
      todo.push(place)
      owners.push(call)
    }
    const addReturn = (callee: MadeCall, after: number, caller: Call): void => {
      callee.returns.push(after)
      callee.callers.push(caller)
      if (callee.empty) reach(after, caller)
    }
    const keptPlaces: number[] = []
    const keptCalls: Call[] = []
    let complete = ended
    for (let i = 0; i < places.length; i++) reach(places[i] as number, calls[i] as Call)
    for (let place = todo.pop(); place !== undefined; place = todo.pop()) {
      const call = owners.pop() as Call
      this.work += 2
      if (this.work > this.limit) throw new TooMuchWork()
      if (this.#network.isFinal(place)) {
        if (call.id >= firstMade) (call as MadeCall).empty = true
        complete ||= call.ends
        this.work += call.returns.length
        for (let i = 0; i < call.returns.length; i++) reach(call.returns[i] as number, call.callers[i] as Call)
      }
      let reads = false
      for (let edge = firsts.at(place); edge >= 0; edge = edges.at(edge + 4)) {
        const [kind, rule, after] = [edges.at(edge), edges.at(edge + 1), edges.at(edge + 3)]
        this.work++
        if (kind === EdgeKind.empty) reach(after, call)
        else if (kind !== EdgeKind.call) reads = true
        else {
          let callee = made.get(rule)
          if (callee === undefined) {
            callee = { id: this.#ids++, rule, returns: [], callers: [], ends: false, empty: false }
            made.set(rule, callee)
            this.work += 10
            reach(starts[rule] as number, callee)
          }
          // After a last call there is nothing to come back for, so that `list ::= item list` does not grow with each
          // item. A call that was made at this byte may still get more callers.
          if (call.id < firstMade && this.#network.isTail(after)) {
            callee.ends ||= call.ends
            if (callee.empty) complete ||= call.ends
            this.work += call.returns.length
            for (let i = 0; i < call.returns.length; i++)
              addReturn(callee, call.returns[i] as number, call.callers[i] as Call)
          } else addReturn(callee, after, call)
        }
      }
      if (!reads) continue
      keptPlaces.push(place)
      keptCalls.push(call)
    }
    if (keptPlaces.length === 0 && !complete) return null
    return this.#stateOf(keptPlaces, this.#shared(made, firstMade, keptCalls), complete)
  }

  /** Replaces the calls made at this byte by equal ones that are known. */
  #shared(made: ReadonlyMap<number, Call>, firstMade: number, calls: readonly Call[]): readonly Call[] {
    const { order } = this.#network
    const shared = new Map<number, Call>()
    const sharedOf = (call: Call): Call => (call.id < firstMade ? call : (shared.get(call.id) as Call))
    // Callers first: a rule never begins with itself.
    const sorted = [...made.values()].sort((a, b) => (order[a.rule] as number) - (order[b.rule] as number))
    for (const call of sorted) {
      const edges = call.returns.map((after, i) => ({ after, caller: sharedOf(call.callers[i] as Call) }))
      const keys = edges.map(({ after, caller }) => `${after}:${caller.id}`)
      const key = `${call.rule} ${call.ends} ${[...new Set(keys)].sort().join()}`
      let known = this.#calls.get(key)
      if (known === undefined) {
        known = { id: this.#ids++, rule: call.rule, returns: [], callers: [], ends: call.ends }
        const added = new Set<string>()
        for (const [i, { after, caller }] of edges.entries()) {
          if (added.has(keys[i] as string)) continue
          added.add(keys[i] as string)
          known.returns.push(after)
          known.callers.push(caller)
        }
        this.#calls.set(key, known)
        this.knownBytes += 200 + key.length + 24 * known.returns.length
      }
      shared.set(call.id, known)
    }
    return calls.map(sharedOf)
  }

  #stateOf(places: readonly number[], calls: readonly Call[], complete: boolean): State {
    const sorted = places
      .map((place, i) => ({ place, call: calls[i] as Call }))
      .sort((a, b) => a.place - b.place || a.call.id - b.call.id)
    const key = `${complete} ${sorted.map(({ place, call }) => `${place}:${call.id}`).join()}`
    const known = this.#states.get(key)
    if (known !== undefined) return known
    const state: State = {
      places: sorted.map(({ place }) => place),
      calls: sorted.map(({ call }) => call),
      complete,
      readsTokens: sorted.some(({ place }) => this.#readsTokens(place)),
      next: new Array<State | null | undefined>(256).fill(undefined),
      allowed: undefined,
    }
    this.#states.set(key, state)
    this.knownBytes += 2200 + key.length + 16 * places.length
    return state
  }

  #readsTokens(place: number): boolean {
    const { firsts, edges } = this.#network
    for (let edge = firsts.at(place); edge >= 0; edge = edges.at(edge + 4))
      if (edges.at(edge) >= EdgeKind.token) return true
    return false
  }
}
