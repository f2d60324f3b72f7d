import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Constant } from '../../src/encoders/graph/onnx-file.ts'
import { WeightCache } from '../../src/encoders/graph/weight-cache.ts'
import { badModel } from '../../src/errors.ts'

let home: string
let folder: string
let vision: string

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'oriel-weights-'))
  folder = path.join(home, 'cache', 'weights')
  vision = path.join(home, 'mmproj.gguf')
  writeFileSync(vision, Buffer.alloc(3e6, 'vision'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** Constants of bytes, and how many of them were made. */
function constantsOf(...sizes: number[]) {
  const made: string[] = []
  const constants = sizes.map((bytes, index): Constant => {
    const name = `weight ${index}`
    function* pieces() {
      made.push(name)
      for (let at = 0; at < bytes; at += 1000) yield new Uint8Array(Math.min(1000, bytes - at)).fill(index + 1)
    }
    return { name, type: 'u8', shape: [bytes], bytes, pieces }
  })
  return { constants, made }
}

const place = (constants: readonly Constant[], mostBytes = 1e9) =>
  WeightCache.of(vision, { folder, mostBytes })?.place(constants, () => {}) ?? null

const filesOf = () => readdirSync(folder)

async function read(file: ReturnType<typeof place>, index: number, bytes: number): Promise<Buffer> {
  const handle = await open(path.join(file?.folder ?? '', file?.name ?? ''))
  const { buffer } = await handle.read(Buffer.alloc(bytes), 0, bytes, file?.places[index] ?? 0)
  await handle.close()
  return buffer
}

describe('the cache of weights', () => {
  it('makes the weights once, and has every constant at its place', async () => {
    const { constants, made } = constantsOf(5000, 3, 2500)
    const shares: number[] = []
    WeightCache.of(vision, { folder, mostBytes: 1e9 })?.place(constants, (share) => shares.push(share))
    expect(made).toEqual(['weight 0', 'weight 1', 'weight 2'])
    expect(shares.at(-1)).toBe(1)
    expect(shares).toEqual(shares.toSorted((a, b) => a - b))
    const again = place(constants)
    expect(made).toHaveLength(3)
    for (const [index, { bytes }] of constants.entries())
      expect(await read(again, index, bytes)).toEqual(Buffer.alloc(bytes, index + 1))
    expect(again?.places.every((at) => at % 64 === 0)).toBe(true)
  })

  it('knows a vision file by what is in it, not by its path', () => {
    const { constants, made } = constantsOf(2000)
    utimesSync(vision, 1000, 1000)
    place(constants)
    const copy = path.join(home, 'copy.gguf')
    writeFileSync(copy, Buffer.alloc(3e6, 'vision'))
    utimesSync(copy, 1000, 1000)
    WeightCache.of(copy, { folder, mostBytes: 1e9 })?.place(constants, () => {})
    expect(made).toHaveLength(1)
    // Another file of the same size and time.
    writeFileSync(vision, Buffer.alloc(3e6, 'other!'))
    utimesSync(vision, 1000, 1000)
    place(constants)
    expect(made).toHaveLength(2)
  })

  it('makes other constants of the same file beside the first', () => {
    const { constants, made } = constantsOf(2000)
    place(constants)
    place(constants.map((constant) => ({ ...constant, name: `${constant.name} int8` })))
    expect(made).toHaveLength(2)
    expect(filesOf()).toHaveLength(2)
  })

  it.each([
    ['truncated', (file: string) => truncateSync(file, 1000)],
    ['emptied', (file: string) => truncateSync(file, 0)],
    ['overwritten in the middle', (file: string) => spoil(file, 3000)],
    ['of which the last byte is another', (file: string) => spoil(file, statSync(file).size - 1)],
  ])('makes a file anew that was %s', async (_, damage) => {
    const { constants, made } = constantsOf(5000)
    const { name = '' } = place(constants) ?? {}
    await damage(path.join(folder, name))
    expect(await read(place(constants), 0, 5000)).toEqual(Buffer.alloc(5000, 1))
    expect(made).toHaveLength(2)
    place(constants)
    expect(made).toHaveLength(2)
  })

  it('believes a file since the last start of the machine, and after it only what was brought to the disk', async () => {
    const { constants, made } = constantsOf(5000)
    const placed = place(constants)
    const file = path.join(folder, placed?.name ?? '')
    await writtenIn1970(file)
    place(constants)
    expect(made).toHaveLength(2)
    await place(constants)?.settle()
    await writtenIn1970(file)
    expect(await read(place(constants), 0, 5000)).toEqual(Buffer.alloc(5000, 1))
    expect(made).toHaveLength(2)
    await spoil(file, 10)
    place(constants)
    expect(made).toHaveLength(3)
  })

  it('removes the files that were used least recently, and never takes more than it may', () => {
    const own = (index: number) => constantsOf(4000).constants.map((one) => ({ ...one, name: `form ${index}` }))
    const names = [0, 1, 2].map((index) => {
      const { name = '' } = place(own(index), 10_000) ?? {}
      utimesSync(path.join(folder, name), index, index)
      if (index === 1) place(own(0), 10_000)
      return name
    })
    // The first was used again before the third came.
    expect(filesOf().sort()).toEqual([names[0], names[2]].sort())
  })

  it('removes what a process left that died while it wrote, after an hour', () => {
    const { constants } = constantsOf(2000)
    place(constants)
    const [left, young] = ['left.new', 'young.new'].map((name) => path.join(folder, name))
    for (const file of [left, young]) writeFileSync(file ?? '', 'half')
    utimesSync(left ?? '', 1, 1)
    place(constants.map((constant) => ({ ...constant, name: 'another' })))
    expect(filesOf().filter((name) => name.endsWith('.new'))).toEqual(['young.new'])
  })

  it('keeps nothing that is larger than the cache, nothing on a disk without room, and nothing where it may not', () => {
    const { constants } = constantsOf(5000)
    expect(place(constants, 4000)).toBeNull()
    expect(WeightCache.of(vision, { folder, mostBytes: 0 })).toBeNull()
    const endless = { ...constants[0], shape: [1e18], bytes: 1e18 } as Constant
    expect(place([endless], 1e19)).toBeNull()
    writeFileSync(path.join(home, 'file'), '')
    const nowhere = WeightCache.of(vision, { folder: path.join(home, 'file', 'weights'), mostBytes: 1e9 })
    expect(nowhere?.place(constants, () => {})).toBeNull()
    nowhere?.keep('forms', 1)
    expect(nowhere?.recall('forms')).toBeUndefined()
  })

  it.skipIf(process.getuid?.() === 0 || process.platform === 'win32')('reads from a folder that is read-only', () => {
    const { constants, made } = constantsOf(2000)
    place(constants)
    chmodSync(folder, 0o500)
    expect(place(constants)).not.toBeNull()
    expect(made).toHaveLength(1)
    chmodSync(folder, 0o700)
  })

  it('tells that the vision file is broken, and leaves no part of a file', () => {
    const [constant] = constantsOf(2000).constants
    const broken = {
      ...constant,
      pieces: () => {
        throw badModel('It is truncated.')
      },
    } as Constant
    expect(() => place([broken])).toThrow('It is truncated.')
    expect(filesOf()).toEqual([])
  })

  it('lets two write the same file at once', async () => {
    const { constants } = constantsOf(3000)
    const inner = constantsOf(3000)
    // The second writer begins and ends in the middle of the first one's work.
    const outer = constants.map((constant) => ({
      ...constant,
      *pieces() {
        expect(place(inner.constants)).not.toBeNull()
        yield* constant.pieces()
      },
    }))
    expect(await read(place(outer), 0, 3000)).toEqual(Buffer.alloc(3000, 1))
    expect(filesOf()).toHaveLength(1)
  })

  it('keeps notes beside the weights', () => {
    const cache = WeightCache.of(vision, { folder, mostBytes: 1e9 })
    expect(cache?.recall('forms')).toBeUndefined()
    cache?.keep('forms', { 'v.blk.0': 'int8' })
    cache?.keep('error', 0.01)
    const again = WeightCache.of(vision, { folder, mostBytes: 1e9 })
    expect(again?.recall('forms')).toEqual({ 'v.blk.0': 'int8' })
    expect(again?.recall('error')).toBe(0.01)
    for (const name of filesOf()) writeFileSync(path.join(folder, name), '{"forms": ')
    expect(again?.recall('forms')).toBeUndefined()
  })
})

/** As if the machine had started many times since: the seal has the time that the system gives, and another start. */
async function writtenIn1970(file: string): Promise<void> {
  const handle = await open(file, 'r+')
  const time = 1000
  const { size } = statSync(file)
  await handle.write(Float64Array.of(time), 0, 8, size - 24)
  await handle.write(Float64Array.of(1), 0, 8, size - 8)
  await handle.utimes(time, time)
  await handle.close()
}

/** Changes one byte. */
async function spoil(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+')
  await handle.write(Buffer.of(77), 0, 1, at)
  await handle.close()
}
