/** Returns integers from 0 to `limit - 1`. Equal seeds give equal sequences. */
export type Random = (limit: number) => number

/** Mulberry32. */
export function seeded(seed: number): Random {
  let state = seed
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), 1 | state)
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word
    return ((word ^ (word >>> 14)) >>> 0) % limit
  }
}

/** Counts and offsets at the limits of integer types. */
const numbers = [
  0n,
  1n,
  31n,
  0x7fffffffn,
  0xffffffffn,
  1n << 32n,
  1n << 53n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
]

/** Makes one to four changes: bits, bytes and numbers, and parts that are repeated, removed or cut off. */
export function mutate(seed: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(seed)
  for (let change = random(4); change >= 0; change--) {
    const at = random(Math.max(1, bytes.length - 8))
    const kind = random(8)
    if (kind === 0) bytes = bytes.subarray(0, at)
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(32))])
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at + random(32)), bytes.subarray(at)])
    else if (bytes.length < 8) continue
    else if (kind === 3) bytes.writeBigUInt64LE(numbers[random(numbers.length)] ?? 0n, at)
    else if (kind === 4) bytes.writeUInt32LE(random(64), at)
    else if (kind === 5) bytes[at] = random(256)
    else bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
  }
  return bytes
}
