/**
 * Changes the rate of mono samples with a windowed sinc, in pieces of any length. The delay of the filter is taken out: the
 * first output sample is at the time of the first input sample.
 */
export class Resampler {
  readonly #up: number
  readonly #down: number
  /** Input samples on each side of the middle that an output sample is computed from. */
  readonly #half: number
  /** A filter for each position of an output sample between two input samples, made when it is needed. */
  readonly #filters: (Float64Array | undefined)[] = []
  readonly #cutoff: number
  /** The last of the input, and room for more. Doubles need no conversion to be added up, which takes half of the time. */
  #input: Float64Array
  #filled: number
  /** The index of the first sample of `#input` in the whole input. */
  #first: number
  #taken = 0
  #made = 0

  /** @param from, to rates in samples a second, whole numbers */
  constructor(from: number, to: number) {
    const divisor = greatestCommonDivisor(from, to)
    this.#up = to / divisor
    this.#down = from / divisor
    // A little below the half of the lower rate: the filter needs some room to fall.
    this.#cutoff = 0.95 * Math.min(1, to / from)
    // Even, because of `weighted`.
    this.#half = 2 * Math.ceil(zeroCrossings / this.#cutoff / 2)
    this.#input = new Float64Array(2 * this.#half)
    this.#filled = this.#half
    this.#first = -this.#half
  }

  /** @returns the place of so many input samples, where they are to be written before anything else is called */
  room(count: number): Float64Array {
    this.#taken += count
    return this.#extended(count)
  }

  /**
   * Writes the output samples that can be computed so far, as far as they fit.
   * @param at where the first one goes
   * @returns how many were written
   */
  write(output: Float32Array, at: number): number {
    return this.#write(output, at, Math.ceil((this.#taken - this.#half) * (this.#up / this.#down)))
  }

  /** Writes the rest of the output, as `write` does. */
  end(output: Float32Array, at: number): number {
    this.#extended(2 * this.#half + 1).fill(0)
    return this.#write(output, at, Math.ceil((this.#taken * this.#up) / this.#down))
  }

  #extended(count: number): Float64Array {
    const from = this.#filled
    this.#filled += count
    if (this.#filled > this.#input.length) {
      const larger = new Float64Array(2 * this.#filled)
      larger.set(this.#input.subarray(0, from))
      this.#input = larger
    }
    return this.#input.subarray(from, this.#filled)
  }

  #write(output: Float32Array, at: number, until: number): number {
    const count = Math.max(0, Math.min(until - this.#made, output.length - at))
    for (let index = 0; index < count; index++) {
      const position = (this.#made + index) * this.#down
      const whole = Math.floor(position / this.#up)
      const filter = this.#filter(position - whole * this.#up)
      output[at + index] = weighted(this.#input, whole - this.#half + 1 - this.#first, filter)
    }
    this.#made = Math.max(this.#made, until)
    const needed = Math.floor((this.#made * this.#down) / this.#up) - this.#half + 1
    const drop = Math.min(this.#filled, Math.max(0, needed - this.#first))
    this.#input.copyWithin(0, drop, this.#filled)
    this.#filled -= drop
    this.#first += drop
    return count
  }

  /** @param phase of an output sample after the input sample before it, in parts of `#up` */
  #filter(phase: number): Float64Array {
    const made = this.#filters[phase]
    if (made !== undefined) return made
    const filter = new Float64Array(2 * this.#half)
    let sum = 0
    for (let tap = 0; tap < filter.length; tap++) {
      const distance = tap - this.#half + 1 - phase / this.#up
      const value = sinc(this.#cutoff * distance) * kaiser(distance / this.#half)
      filter[tap] = value
      sum += value
    }
    for (let tap = 0; tap < filter.length; tap++) filter[tap] = (filter[tap] ?? 0) / sum
    this.#filters[phase] = filter
    return filter
  }
}

/** In four sums, which the processor adds side by side. @param filter of a length that is a multiple of 4 */
function weighted(input: Float64Array, from: number, filter: Float64Array): number {
  let [a, b, c, d] = [0, 0, 0, 0]
  for (let tap = 0; tap < filter.length; tap += 4) {
    const at = from + tap
    a += (input[at] as number) * (filter[tap] as number)
    b += (input[at + 1] as number) * (filter[tap + 1] as number)
    c += (input[at + 2] as number) * (filter[tap + 2] as number)
    d += (input[at + 3] as number) * (filter[tap + 3] as number)
  }
  return a + b + c + d
}

/** Of the sinc on each side. With more, the filter falls more steeply and takes longer. */
const zeroCrossings = 24
/** The shape of the window: what is above the half of the lower rate is 80 dB lower afterwards. */
const beta = 8

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x))

const kaiser = (x: number): number => (Math.abs(x) >= 1 ? 0 : bessel(beta * Math.sqrt(1 - x * x)) / bessel(beta))

/** The modified Bessel function of the first kind and of order 0, by its series. */
function bessel(x: number): number {
  let [term, sum] = [1, 1]
  for (let k = 1; term > sum * 1e-9; k++) {
    term *= (x / (2 * k)) ** 2
    sum += term
  }
  return sum
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b))
