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
  readonly #filters = new Map<number, Float32Array>()
  readonly #cutoff: number
  #input: Float32Array
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
    this.#half = Math.ceil(zeroCrossings / this.#cutoff)
    this.#input = new Float32Array(this.#half)
    this.#first = -this.#half
  }

  /** @returns the output samples that can be computed so far */
  push(samples: Float32Array): Float32Array {
    this.#taken += samples.length
    return this.#run(samples, Math.ceil((this.#taken - this.#half) * (this.#up / this.#down)))
  }

  /** @returns the rest of the output */
  end(): Float32Array {
    return this.#run(new Float32Array(2 * this.#half + 1), Math.ceil((this.#taken * this.#up) / this.#down))
  }

  #run(samples: Float32Array, until: number): Float32Array {
    const input = new Float32Array(this.#input.length + samples.length)
    input.set(this.#input)
    input.set(samples, this.#input.length)
    const output = new Float32Array(Math.max(0, until - this.#made))
    const width = 2 * this.#half
    for (let index = 0; index < output.length; index++) {
      const position = (this.#made + index) * this.#down
      const whole = Math.floor(position / this.#up)
      const filter = this.#filter(position - whole * this.#up)
      const at = whole - this.#half + 1 - this.#first
      let sum = 0
      for (let tap = 0; tap < width; tap++) sum += (input[at + tap] ?? 0) * (filter[tap] ?? 0)
      output[index] = sum
    }
    this.#made += output.length
    const needed = Math.floor((this.#made * this.#down) / this.#up) - this.#half + 1
    const drop = Math.min(input.length, Math.max(0, needed - this.#first))
    this.#input = input.slice(drop)
    this.#first += drop
    return output
  }

  /** @param phase of an output sample after the input sample before it, in parts of `#up` */
  #filter(phase: number): Float32Array {
    const made = this.#filters.get(phase)
    if (made !== undefined) return made
    const filter = new Float32Array(2 * this.#half)
    let sum = 0
    for (let tap = 0; tap < filter.length; tap++) {
      const distance = tap - this.#half + 1 - phase / this.#up
      const value = sinc(this.#cutoff * distance) * kaiser(distance / this.#half)
      filter[tap] = value
      sum += value
    }
    for (let tap = 0; tap < filter.length; tap++) filter[tap] = (filter[tap] ?? 0) / sum
    this.#filters.set(phase, filter)
    return filter
  }
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
