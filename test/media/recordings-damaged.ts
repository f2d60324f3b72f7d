import type { Random } from '../support/mutate.ts'

interface Original {
  readonly kind: 'video' | 'audio'
  readonly file: Buffer
}

/** One of the files with some bits flipped, words replaced, a part of another file in it, or its end cut off. */
export function damagedRecordings(
  originals: readonly Original[],
  random: Random,
): [kind: Original['kind'], file: Buffer] {
  const { kind, file: original } = originals[random(originals.length)] ?? { kind: 'audio', file: Buffer.alloc(0) }
  let file = Buffer.from(original)
  for (let times = 1 + random(5); times > 0 && file.length > 300; times--) {
    // A third of the damage is done to the beginning, and another to the end, where containers have their tables.
    const part = [300, file.length - 4, Math.min(file.length - 4, 3000)][random(3)] ?? 300
    const at = random(2) === 0 ? random(part) : Math.max(0, file.length - 4 - random(part))
    const kind = random(8)
    if (kind <= 2) file[at] = (file[at] ?? 0) ^ (1 << random(8))
    else if (kind === 3) file[at] = random(256)
    else if (kind === 4) file.writeUInt32BE([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff][random(6)] ?? 0, at)
    else if (kind === 5) file = file.subarray(0, Math.max(300, at))
    else if (kind === 6)
      file = Buffer.concat([file.subarray(0, at), file.subarray(random(at + 1), at + random(300)), file.subarray(at)])
    else {
      const other = originals[random(originals.length)]?.file ?? file
      const from = random(other.length)
      other.copy(file, at, from, from + random(300))
    }
  }
  return [kind, file]
}
