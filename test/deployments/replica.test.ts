import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import type { Backend } from '../../src/deployments/backend.ts'
import { Deployment } from '../../src/deployments/deployment.ts'
import { MemoryBudget } from '../../src/deployments/memory-budget.ts'
import type { MemoryPlan } from '../../src/deployments/memory-plan.ts'
import { usualWanted } from '../../src/deployments/record.ts'
import { Replica } from '../../src/deployments/replica.ts'
import type { Starter } from '../../src/deployments/starter.ts'
import { OrielError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import type { ModelCard } from '../../src/models/index.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const card = { id: 'model', version: '1' } as ModelCard
const plan = { total: 1 } as MemoryPlan

/** Memory for one replica. */
const servicesOf = (start: Starter) => ({
  ...{ budget: new MemoryBudget(1), start, reread: async () => card, log: createLogger('silent') },
  config: { keepLoadedMs: 0, timeoutMs: 1000 } as never,
})

/** A model whose loads take no time. */
function deployed() {
  const starts: Parameters<Starter>[1][] = []
  const services = servicesOf(async (_, start) => {
    starts.push(start)
    return { close: async () => {} } as Backend
  })
  const keeping = { idleMs: 0, isPinned: () => false, onEvicted: () => {} }
  const replica = new Replica(card, plan, services, keeping)
  const use = async (): Promise<() => void> => {
    const use = new AbortController()
    await replica.use(use.signal, 1000)
    return () => use.abort()
  }
  const told = () => [replica.state, replica.failure?.message]
  return { starts, use, told }
}

const noMemory = new OrielError('internal', 'There is not enough memory for the encoder.', { code: 'out_of_memory' })
const damaged = new OrielError('invalid', 'The file is damaged.', { code: 'bad_model' })
const textsOnly = (reason: OrielError) => `The model model takes only texts now. ${reason.message}`

it('a model whose encoders could not be opened says so, and is loaded again after half a minute, when it is idle', async () => {
  const { starts, use, told } = deployed()
  const end = await use()
  starts[0]?.onUnopened(noMemory)
  expect(told()).toEqual(['loaded', textsOnly(noMemory)])
  await vi.advanceTimersByTimeAsync(29_000)
  const endOther = await use()
  end()
  await vi.advanceTimersByTimeAsync(2000)
  expect([told(), starts.length]).toEqual([['loaded', textsOnly(noMemory)], 1])
  endOther()
  await vi.advanceTimersByTimeAsync(0)
  expect(told()).toEqual(['available', undefined])
  const last = await use()
  starts[1]?.onOpened()
  await vi.advanceTimersByTimeAsync(60_000)
  last()
  await vi.advanceTimersByTimeAsync(0)
  expect([told(), starts.length]).toEqual([['loaded', undefined], 2])
})

it('a model without users whose encoders could not be opened is unloaded after half a minute', async () => {
  const { starts, use, told } = deployed()
  const end = await use()
  end()
  starts[0]?.onUnopened(noMemory)
  await vi.advanceTimersByTimeAsync(29_000)
  expect(told()[0]).toBe('loaded')
  await vi.advanceTimersByTimeAsync(2000)
  expect(told()).toEqual(['available', undefined])
})

it('a model stays as it is if its encoders open in its next process', async () => {
  const { starts, use, told } = deployed()
  const end = await use()
  starts[0]?.onUnopened(noMemory)
  starts[0]?.onOpened()
  end()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(told()).toEqual(['loaded', undefined])
})

it('a model with a damaged vision file goes on with texts', async () => {
  const { starts, use, told } = deployed()
  const end = await use()
  starts[0]?.onUnopened(damaged)
  end()
  await vi.advanceTimersByTimeAsync(600_000)
  expect([told(), starts.length]).toEqual([['loaded', textsOnly(damaged)], 1])
})

it('requests wait for the replica that is on the way, and ask none for which there is no memory', async () => {
  const loaded = deferred<void>()
  const start = vi.fn(async () => {
    await loaded.promise
    return { close: async () => {} } as Backend
  })
  const record = {
    ...{ ...usualWanted, minReplicas: 1, maxReplicas: 2, replicas: 2 },
    ...{ account: 'a', id: 'd', model: card.id, created: 0, updated: 0, deleted: null },
  }
  const deployment = new Deployment(card, plan, servicesOf(start), record)
  const { signal } = new AbortController()
  const asked = Array.from({ length: 4 }, () => deployment.use(signal, 1000))
  await vi.advanceTimersByTimeAsync(0)
  loaded.resolve()
  expect(new Set(await Promise.all(asked)).size).toBe(1)
  expect([start.mock.calls.length, deployment.desired, deployment.failure]).toEqual([1, 2, undefined])
})
