/** A picture's size in pixels. */
export interface Size {
  width: number
  height: number
}

/** Bits of the fixed-point filter weights: 32 less 8 for the pixel and 2 of headroom (Pillow, src/libImaging/Resample.c). */
const precision = 22

/**
 * Scales 8-bit RGB as Pillow's bicubic filter does (a = -0.5, support widened when shrinking, horizontal pass first,
 * 8-bit values between the passes), which is what llama.cpp's `img_tool::resize_pillow` computes bit by bit.
 * @param rgb `[height, width, 3]`
 */
export function resizeBicubic(rgb: Uint8Array, from: Size, to: Size): Uint8Array {
  if (from.width === to.width && from.height === to.height) return rgb
  const wide = from.width === to.width ? rgb : scaleRows(rgb, from, to.width)
  return from.height === to.height ? wide : scaleColumns(wide, { width: to.width, height: from.height }, to.height)
}

/**
 * Scales into `box` with the aspect kept, and fills what is left at the sides with black: llama.cpp's `PAD_CEIL`.
 * @param rgb `[height, width, 3]`
 */
export function resizeInto(rgb: Uint8Array, from: Size, box: Size): Uint8Array {
  const f = Math.fround
  const scale = Math.min(f(box.width / from.width), f(box.height / from.height))
  const inner = {
    width: Math.min(Math.ceil(f(from.width * scale)), box.width),
    height: Math.min(Math.ceil(f(from.height * scale)), box.height),
  }
  const scaled = resizeBicubic(rgb, from, inner)
  if (inner.width === box.width && inner.height === box.height) return scaled
  const out = new Uint8Array(box.width * box.height * 3)
  const left = (box.width - inner.width) >> 1
  const top = (box.height - inner.height) >> 1
  for (let y = 0; y < inner.height; y++) {
    const row = scaled.subarray(y * inner.width * 3, (y + 1) * inner.width * 3)
    out.set(row, ((y + top) * box.width + left) * 3)
  }
  return out
}

/** For each output position: the first input position and the weights from there on. */
interface Filter {
  first: Int32Array
  counts: Int32Array
  weights: Int32Array
  stride: number
}

function cubic(x: number): number {
  const a = -0.5
  const d = Math.abs(x)
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a
  return 0
}

function filterFor(inputs: number, outputs: number): Filter {
  const scale = inputs / outputs
  const widening = Math.max(scale, 1)
  const support = 2 * widening
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
      const weight = cubic((i + first - center + 0.5) * (1 / widening))
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
  return Math.max(0, Math.min(255, sum >> precision))
}

function scaleRows(rgb: Uint8Array, from: Size, width: number): Uint8Array {
  const { first, counts, weights, stride } = filterFor(from.width, width)
  const out = new Uint8Array(width * from.height * 3)
  for (let y = 0; y < from.height; y++) {
    const row = y * from.width * 3
    for (let x = 0; x < width; x++) {
      let [r, g, b] = [1 << (precision - 1), 1 << (precision - 1), 1 << (precision - 1)]
      const count = counts[x] as number
      let at = row + (first[x] as number) * 3
      for (let i = 0; i < count; i++, at += 3) {
        const weight = weights[x * stride + i] as number
        r += (rgb[at] as number) * weight
        g += (rgb[at + 1] as number) * weight
        b += (rgb[at + 2] as number) * weight
      }
      const to = (y * width + x) * 3
      out[to] = clip8(r)
      out[to + 1] = clip8(g)
      out[to + 2] = clip8(b)
    }
  }
  return out
}

function scaleColumns(rgb: Uint8Array, from: Size, height: number): Uint8Array {
  const { first, counts, weights, stride } = filterFor(from.height, height)
  const bytes = from.width * 3
  const out = new Uint8Array(bytes * height)
  const sums = new Float64Array(bytes)
  for (let y = 0; y < height; y++) {
    sums.fill(1 << (precision - 1))
    const count = counts[y] as number
    for (let i = 0; i < count; i++) {
      const weight = weights[y * stride + i] as number
      const row = ((first[y] as number) + i) * bytes
      for (let x = 0; x < bytes; x++) sums[x] = (sums[x] as number) + (rgb[row + x] as number) * weight
    }
    for (let x = 0; x < bytes; x++) out[y * bytes + x] = clip8(sums[x] as number)
  }
  return out
}
