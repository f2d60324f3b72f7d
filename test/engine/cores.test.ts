import { describe, expect, it } from 'vitest'
import { Cores } from '../../src/engine/cores.ts'

const all = 4

/** Runs steps on a fictional machine. @returns the number of threads of each */
function run(cores: Cores, rows: number, steps: number, takes: (threads: number) => number): number[] {
  return Array.from({ length: steps }, () => {
    const threads = cores.forDecoding(false, rows)
    cores.decoded(threads, rows, takes(threads))
    return threads
  })
}

const share = (threads: readonly number[], of: number): number =>
  threads.filter((one) => one === of).length / threads.length

describe('the threads of a step', () => {
  it('are all when that is faster, with rare trials of one', () => {
    const threads = run(new Cores(all), 1, 500, (count) => 10 / count)
    expect(share(threads, all)).toBeGreaterThan(0.97)
    expect(threads).toContain(1)
  })

  it('become one when that is faster, and all again when that changes', () => {
    const cores = new Cores(all)
    expect(share(run(cores, 1, 200, (count) => 5 * count).slice(50), 1)).toBeGreaterThan(0.9)
    expect(run(cores, 1, 400, (count) => 10 / count).at(-1)).toBe(all)
  })

  it('return after one trial that takes much longer', () => {
    const threads = run(new Cores(all), 1, 500, (count) => (count === 1 ? 40 : 10))
    const inARow = threads.some((one, at) => one === 1 && threads[at + 1] === 1)
    expect(inARow).toBe(false)
  })

  it('are not tried for many rows if few rows are faster on all', () => {
    const cores = new Cores(all)
    run(cores, 1, 50, (count) => 10 / count)
    expect(run(cores, 32, 500, (count) => 100 / count)).not.toContain(1)
  })

  it('are half for running answers and half for the encoder while an image is encoded', () => {
    const cores = new Cores(all)
    expect(cores.forDecoding(true, 1)).toBe(all / 2)
    expect(cores.forEncoding('image', true)).toBe(all / 2)
  })
})
