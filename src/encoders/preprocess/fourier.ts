/**
 * Power spectra of frames of real numbers, two frames at a time: one is the real part of a complex frame, the other the
 * imaginary part. Stockham's algorithm, for lengths of small factors.
 * @param length of a frame, even
 * @returns writes the powers of the frequencies 0 to length / 2 of both frames, which it overwrites
 */
export function powerSpectra(length: number) {
  const turn = (2 * Math.PI) / length
  const cos = Float64Array.from({ length }, (_, at) => Math.cos(turn * at))
  const sin = Float64Array.from({ length }, (_, at) => Math.sin(turn * at))
  const factors = factorsOf(length)
  const spare = { re: new Float64Array(length), im: new Float64Array(length) }

  return (a: Float64Array, b: Float64Array, powersOfA: Float64Array, powersOfB: Float64Array): void => {
    let from: Complex = { re: a, im: b }
    let to: Complex = spare
    let stride = 1
    for (const factor of factors) {
      if (factor === 2) halve(from, to, length, stride, cos, sin)
      else divide(from, to, length, stride, factor, cos, sin)
      ;[from, to] = [to, from]
      stride *= factor
    }
    const { re, im } = from
    for (let k = 0; k <= length / 2; k++) {
      const mirror = k === 0 ? 0 : length - k
      const [x, y, u, v] = [re[k], im[k], re[mirror], im[mirror]] as unknown as [number, number, number, number]
      powersOfA[k] = ((x + u) ** 2 + (y - v) ** 2) / 4
      powersOfB[k] = ((y + v) ** 2 + (u - x) ** 2) / 4
    }
  }
}

interface Complex {
  readonly re: Float64Array
  readonly im: Float64Array
}

function factorsOf(length: number): number[] {
  const factors: number[] = []
  for (let rest = length, factor = 2; rest > 1; factor++)
    for (; rest % factor === 0; rest /= factor) factors.push(factor)
  return factors
}

/** One stage of radix 2. @param stride the product of the factors of the stages before */
function halve(
  { re, im }: Complex,
  to: Complex,
  length: number,
  stride: number,
  cos: Float64Array,
  sin: Float64Array,
): void {
  const half = length / 2
  for (let at = 0; at < half; at += stride) {
    const [c, s] = [cos[at] as number, sin[at] as number]
    for (let q = 0; q < stride; q++) {
      const first = at + q
      const second = first + half
      const [x, y] = [(re[first] as number) - (re[second] as number), (im[first] as number) - (im[second] as number)]
      const out = 2 * at + q
      to.re[out] = (re[first] as number) + (re[second] as number)
      to.im[out] = (im[first] as number) + (im[second] as number)
      to.re[out + stride] = x * c + y * s
      to.im[out + stride] = y * c - x * s
    }
  }
}

/** One stage of an odd radix. The inputs that are equally far from the ends have the same cosine and opposite sines. */
function divide(
  { re, im }: Complex,
  to: Complex,
  length: number,
  stride: number,
  radix: number,
  cos: Float64Array,
  sin: Float64Array,
): void {
  const part = length / radix
  const pairs = (radix - 1) / 2
  const [sums, differences] = [new Float64Array(2 * pairs), new Float64Array(2 * pairs)]
  for (let at = 0; at < part; at += stride)
    for (let q = 0; q < stride; q++) {
      const first = at + q
      const out = radix * at + q
      const [x, y] = [re[first] as number, im[first] as number]
      let [sumX, sumY] = [x, y]
      for (let pair = 0; pair < pairs; pair++) {
        const [near, far] = [first + (pair + 1) * part, first + (radix - 1 - pair) * part]
        const [a, b, c, d] = [re[near], im[near], re[far], im[far]] as unknown as [number, number, number, number]
        sums[2 * pair] = a + c
        sums[2 * pair + 1] = b + d
        differences[2 * pair] = a - c
        differences[2 * pair + 1] = b - d
        sumX += a + c
        sumY += b + d
      }
      to.re[out] = sumX
      to.im[out] = sumY
      for (let j = 1; j <= pairs; j++) {
        let [evenX, evenY, oddX, oddY] = [x, y, 0, 0]
        for (let pair = 0; pair < pairs; pair++) {
          const angle = (((pair + 1) * j) % radix) * part
          const [c, s] = [cos[angle] as number, sin[angle] as number]
          evenX += (sums[2 * pair] as number) * c
          evenY += (sums[2 * pair + 1] as number) * c
          oddX += (differences[2 * pair + 1] as number) * s
          oddY += (differences[2 * pair] as number) * s
        }
        place(to, out + j * stride, evenX + oddX, evenY - oddY, at * j, cos, sin)
        place(to, out + (radix - j) * stride, evenX - oddX, evenY + oddY, at * (radix - j), cos, sin)
      }
    }
}

/** Writes `x + iy`, turned back by the angle of `at`. */
function place(to: Complex, out: number, x: number, y: number, at: number, cos: Float64Array, sin: Float64Array): void {
  const angle = at % cos.length
  const [c, s] = [cos[angle] as number, sin[angle] as number]
  to.re[out] = x * c + y * s
  to.im[out] = y * c - x * s
}
