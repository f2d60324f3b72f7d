/** The light of SDR white in candela per square metre (ITU-R BT.2408). */
const white = 203
/** The steps in which a signal from 0 to 1 is looked up. */
const steps = 4096

/**
 * Turns HDR into sRGB. What is darker than SDR white mostly stays as it is, and what is brighter is compressed.
 * @param signal BT.2020 red, green and blue from 0 to 1, as the transfer function encodes them
 */
export function toSdr(signal: Float32Array, transfer: 'pq' | 'hlg'): Uint8Array {
  const light = lights[transfer]
  const rgb = new Uint8Array(signal.length)
  const at = (index: number): number => light[Math.round(Math.min(1, Math.max(0, signal[index] ?? 0)) * steps)] ?? 0
  for (let to = 0; to < rgb.length; to += 3) {
    const [r, g, b] = [at(to), at(to + 1), at(to + 2)]
    // From the primaries of BT.2020 to those of sRGB.
    const red = 1.6605 * r - 0.5876 * g - 0.0728 * b
    const green = -0.1246 * r + 1.1329 * g - 0.0083 * b
    const blue = -0.0182 * r - 0.1006 * g + 1.1187 * b
    const brightest = Math.max(red, green, blue)
    const factor = brightest <= knee ? 1 : compressed(brightest) / brightest
    rgb[to] = encoded(red * factor)
    rgb[to + 1] = encoded(green * factor)
    rgb[to + 2] = encoded(blue * factor)
  }
  return rgb
}

/** Light of a signal, where SDR white is 1. */
const lights = {
  /** SMPTE ST 2084 */
  pq: table((signal) => {
    const power = signal ** (1 / 78.84375)
    return (10_000 / white) * (Math.max(0, power - 0.8359375) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
  }),
  /** ARIB STD-B67 on a display of 1000 candela, without what depends on the brightness of the pixel as a whole. */
  hlg: table((signal) => {
    const scene = signal <= 0.5 ? signal ** 2 / 3 : (Math.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return (1000 / white) * scene ** 1.2
  }),
}

function table(light: (signal: number) => number): Float32Array {
  return Float32Array.from({ length: steps + 1 }, (_, index) => light(index / steps))
}

/** Light below this stays as it is; light above it approaches 1. */
const knee = 0.7

function compressed(light: number): number {
  const above = (light - knee) / (1 - knee)
  return knee + (1 - knee) * (above / (1 + above))
}

const sdr = Uint8Array.from({ length: steps + 1 }, (_, index) => {
  const light = index / steps
  return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055))
})

const encoded = (light: number): number => sdr[Math.round(Math.min(1, Math.max(0, light)) * steps)] ?? 0
