/** The size of an image in pixels. */
export interface Size {
  width: number
  height: number
}

/** The pixels of an image. `rgb` is `[height, width, 3]`. */
export interface Raster extends Size {
  readonly rgb: Uint8Array
}

/** Red, green and blue. */
export type Colour = readonly [number, number, number]

const black: Colour = [0, 0, 0]

/** A resampling filter: its weight at a distance from the centre, and the distance beyond which it is 0. */
export interface Kernel {
  readonly support: number
  weight(distance: number): number
}

export const bilinear: Kernel = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) }

/** Pillow's bicubic, a = -0.5. */
export const bicubic: Kernel = {
  support: 2,
  weight(x) {
    const a = -0.5
    const d = Math.abs(x)
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1
    if (d < 2) return (((d - 5) * d + 8) * d - 4) * a
    return 0
  },
}

/** Lanczos with three lobes. */
export const lanczos: Kernel = { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) }

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

/** Bits of the fixed-point filter weights: 32 minus 8 for the pixel and 2 of headroom (Pillow, src/libImaging/Resample.c). */
const precision = 22

/**
 * Scales 8-bit RGB as Pillow's filters do (support widened when shrinking, horizontal pass first, 8-bit values between the
 * passes), which is what llama.cpp's `img_tool::resize_pillow` computes bit by bit.
 */
export function resize(image: Raster, to: Size, kernel: Kernel): Raster {
  const wide = image.width === to.width ? image : scaleRows(image, to.width, kernel)
  return wide.height === to.height ? wide : scaleColumns(wide, to.height, kernel)
}

/**
 * Scales to fit `box` with the aspect kept, and pads the sides with a colour.
 * @param rounding of the scaled edges, and of the place in the box: llama.cpp's `PAD_CEIL`, or `PAD_NEAREST`
 */
export function resizeInto(
  image: Raster,
  box: Size,
  kernel: Kernel,
  colour: Colour = black,
  rounding: 'up' | 'nearest' = 'up',
): Raster {
  const f = Math.fround
  const scale = Math.min(f(box.width / image.width), f(box.height / image.height))
  const rounded = rounding === 'up' ? Math.ceil : (length: number) => Math.max(1, Math.round(length))
  const inner = {
    width: Math.min(rounded(f(image.width * scale)), box.width),
    height: Math.min(rounded(f(image.height * scale)), box.height),
  }
  const scaled = resize(image, inner, kernel)
  if (inner.width === box.width && inner.height === box.height) return scaled
  const rgb = new Uint8Array(box.width * box.height * 3)
  for (let at = 0; at < rgb.length; at++) rgb[at] = colour[at % 3] as number
  const before = (room: number) => (rounding === 'up' ? room >> 1 : Math.round(room / 2))
  const left = before(box.width - inner.width)
  const top = before(box.height - inner.height)
  for (let y = 0; y < inner.height; y++) {
    const row = scaled.rgb.subarray(y * inner.width * 3, (y + 1) * inner.width * 3)
    rgb.set(row, ((y + top) * box.width + left) * 3)
  }
  return { ...box, rgb }
}

/**
 * The size nearest to `size` whose edges are multiples of `align` and whose area is within the bounds, with the aspect
 * kept: llama.cpp's `calc_size_preserved_ratio`, including its 32-bit floats.
 */
export function alignedSize(size: Size, align: number, minPixels: number, maxPixels: number): Size {
  const f = Math.fround
  const { width, height } = size
  const aligned = (round: (x: number) => number, value: number) => round(f(f(value) / align)) * align
  const nearest = {
    width: Math.max(align, aligned(Math.round, width)),
    height: Math.max(align, aligned(Math.round, height)),
  }
  const area = nearest.width * nearest.height
  if (area > maxPixels) {
    const by = f(Math.sqrt(f(f(f(height) * width) / maxPixels)))
    return {
      width: Math.max(align, aligned(Math.floor, f(width / by))),
      height: Math.max(align, aligned(Math.floor, f(height / by))),
    }
  }
  if (area < minPixels) {
    const by = f(Math.sqrt(f(minPixels / f(f(height) * width))))
    return { width: aligned(Math.ceil, f(width * by)), height: aligned(Math.ceil, f(height * by)) }
  }
  return nearest
}

/** For each output position, the first input position and the weights from there. */
interface Filter {
  first: Int32Array
  counts: Int32Array
  weights: Int32Array
  stride: number
}

function filterFor(inputs: number, outputs: number, kernel: Kernel): Filter {
  const scale = inputs / outputs
  const widening = Math.max(scale, 1)
  const support = kernel.support * widening
  const stride = Math.ceil(support) * 2 + 1
  const filter = {
    first: new Int32Array(outputs),
    counts: new Int32Array(outputs),
    weights: new Int32Array(outputs * stride),
    stride,
  }
  const raw = new Float64Array(stride)
  for (let out = 0; out < outputs; out++) {
    const center = (out + 0.5) * scale
    const first = Math.max(0, Math.trunc(center - support + 0.5))
    const count = Math.min(inputs, Math.trunc(center + support + 0.5)) - first
    let sum = 0
    for (let i = 0; i < count; i++) {
      const weight = kernel.weight((i + first - center + 0.5) * (1 / widening))
      raw[i] = weight
      sum += weight
    }
    for (let i = 0; i < count; i++) {
      const scaled = ((raw[i] ?? 0) / (sum || 1)) * 2 ** precision
      filter.weights[out * stride + i] = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5))
    }
    filter.first[out] = first
    filter.counts[out] = count
  }
  return filter
}

const clip8 = (sum: number): number => {
  const value = sum >> precision
  return value < 0 ? 0 : Math.min(value, 255)
}

// Sums stay within 32 bits: weights add up to 2^22, their absolute values to less than twice that, and pixels have 8 bits.
// Integers take a quarter less time than floating-point numbers.
const half = 1 << (precision - 1)

function scaleRows({ rgb, ...from }: Raster, width: number, kernel: Kernel): Raster {
  const { first, counts, weights, stride } = filterFor(from.width, width, kernel)
  const out = new Uint8Array(width * from.height * 3)
  for (let y = 0; y < from.height; y++) {
    const row = y * from.width * 3
    for (let x = 0; x < width; x++) {
      let r = half
      let g = half
      let b = half
      const begin = x * stride
      const end = begin + (counts[x] as number)
      let at = row + (first[x] as number) * 3
      for (let i = begin; i < end; i++, at += 3) {
        const weight = weights[i] as number
        r = (r + Math.imul(rgb[at] as number, weight)) | 0
        g = (g + Math.imul(rgb[at + 1] as number, weight)) | 0
        b = (b + Math.imul(rgb[at + 2] as number, weight)) | 0
      }
      const to = (y * width + x) * 3
      out[to] = clip8(r)
      out[to + 1] = clip8(g)
      out[to + 2] = clip8(b)
    }
  }
  return { width, height: from.height, rgb: out }
}

function scaleColumns({ rgb, ...from }: Raster, height: number, kernel: Kernel): Raster {
  const { first, counts, weights, stride } = filterFor(from.height, height, kernel)
  const bytes = from.width * 3
  const out = new Uint8Array(bytes * height)
  const sums = new Int32Array(bytes)
  for (let y = 0; y < height; y++) {
    sums.fill(half)
    const count = counts[y] as number
    for (let i = 0; i < count; i++) {
      const weight = weights[y * stride + i] as number
      const row = ((first[y] as number) + i) * bytes
      for (let x = 0; x < bytes; x++) sums[x] = (sums[x] as number) + Math.imul(rgb[row + x] as number, weight)
    }
    for (let x = 0; x < bytes; x++) out[y * bytes + x] = clip8(sums[x] as number)
  }
  return { width: from.width, height, rgb: out }
}
