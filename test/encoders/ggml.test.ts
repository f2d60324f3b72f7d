import { expect, it, vi } from 'vitest'
import { ggmlGraphs } from '../../src/encoders/graph/ggml.ts'
import type { GraphSource } from '../../src/encoders/graph/source.ts'
import type { Weights } from '../../src/encoders/graph/weights.ts'
import type { Ggml } from '../../src/native/index.ts'

/** @param most memory for the graphs of all parts, each of which takes as much as its number says */
function graphsWithin(most: number) {
  const schedulers = new Map<object, number>()
  let building = 0
  const freed = vi.fn<(context: unknown) => void>()
  const init = vi.fn(() => ({}))
  const ggml = {
    init,
    free: freed,
    newTensor4d: () => ({}),
    gelu: () => ({}),
    setInput() {},
    setOutput() {},
    newGraph: () => ({}),
    buildForwardExpand() {},
    newScheduler() {
      const scheduler = {}
      schedulers.set(scheduler, 0)
      return scheduler
    },
    allocGraph(scheduler: object) {
      const taken = [...schedulers.values()].reduce((sum, bytes) => sum + bytes, 0)
      if (taken + building > most) return false
      schedulers.set(scheduler, building)
      return true
    },
    freeScheduler: (scheduler: object) => void schedulers.delete(scheduler),
    setTensor() {},
    getTensor() {},
    compute: () => 0,
  }
  const source: GraphSource<number> = {
    example: 1,
    sizeOf: String,
    grid: () => ({ rows: 1, columns: 1 }),
    build(graph, part) {
      building = part
      return graph.gelu(graph.input(1, 1))
    },
  }
  const graphs = ggmlGraphs(ggml as unknown as Ggml, { backends: [] } as Partial<Weights> as Weights, source)
  const run = (part: number): Promise<Float32Array> => graphs.run(new Float32Array(1), part, 1)
  return { run, free: graphs.free, schedulers, init, freed }
}

it('gives the memory of the graphs of other sizes to one that lacks it', async () => {
  const { run, free, schedulers, init, freed } = graphsWithin(10)
  for (const part of [2, 3, 4]) await run(part)
  expect(await run(8)).toHaveLength(1)
  expect([...schedulers.values()]).toEqual([8])
  await run(2)
  await expect(run(11)).rejects.toThrow('not enough memory to encode an attachment of this size')
  expect(await run(10)).toHaveLength(1)
  free()
  expect(schedulers.size).toBe(0)
  expect(freed).toHaveBeenCalledTimes(init.mock.calls.length)
})
