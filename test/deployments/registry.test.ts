import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfiguredDeployments } from '../../src/deployments/configured.ts'
import { DeployedModels } from '../../src/deployments/deployed-models.ts'
import { Deployment } from '../../src/deployments/deployment.ts'
import { type KeptResource, keyOf, type ResourceStore } from '../../src/deployments/kept.ts'
import { MemoryBudget } from '../../src/deployments/memory-budget.ts'
import type { MemoryPlan } from '../../src/deployments/memory-plan.ts'
import { type DeploymentRecord, purgeMs, usualWanted } from '../../src/deployments/record.ts'
import { Registry } from '../../src/deployments/registry.ts'
import type { SharedServices } from '../../src/deployments/starter.ts'
import { OrielError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import type { AdapterCard, ModelCard } from '../../src/models/index.ts'

/** A store in memory. Before it is told to go on, it may break at a change: before it, or after it and before its answer. */
class Memory implements ResourceStore {
  readonly kept = new Map<string, KeptResource>()
  breaks: 'before' | 'after' | undefined

  async list(kind: string): Promise<KeptResource[]> {
    return [...this.kept.values()].filter((one) => one.kind === kind)
  }

  insert(resource: Omit<KeptResource, 'revision'>): Promise<boolean> {
    return this.#change(() => {
      if (this.kept.has(keyOf(resource))) return false
      this.kept.set(keyOf(resource), { ...resource, revision: 1 })
      return true
    })
  }

  replace(resource: KeptResource): Promise<boolean> {
    return this.#change(() => {
      if (this.kept.get(keyOf(resource))?.revision !== resource.revision) return false
      this.kept.set(keyOf(resource), { ...resource, revision: resource.revision + 1 })
      return true
    })
  }

  async remove(name: Pick<KeptResource, 'account' | 'id'>): Promise<void> {
    await this.#change(() => this.kept.delete(keyOf(name)))
  }

  async #change<T>(act: () => T): Promise<T> {
    const { breaks } = this
    this.breaks = undefined
    if (breaks === 'before') throw new Error('the store broke')
    const done = act()
    if (breaks === 'after') throw new Error('the store broke')
    return done
  }
}

const log = createLogger('silent')
const opened = async (store: ResourceStore): Promise<Registry> => {
  const registry = new Registry(store, log)
  await registry.reload()
  return registry
}
const name = (id: string) => ({ account: 'a', id })
const wanted = { ...usualWanted, maxReplicas: 3 }

describe('the registry', () => {
  it('refuses an id that exists on another server', async () => {
    const store = new Memory()
    const [here, there] = [await opened(store), await opened(store)]
    await here.create(here.draft('a', 'd', 'pocket', wanted))
    await expect(there.create(there.draft('a', 'd', 'pocket', wanted))).rejects.toMatchObject({ kind: 'conflict' })
    expect(there.find('a', 'd')).toEqual(here.find('a', 'd'))
  })

  it('changes what another server has changed, as it is now', async () => {
    const store = new Memory()
    const here = await opened(store)
    await here.create(here.draft('a', 'd', 'pocket', wanted))
    const there = await opened(store)
    await there.change(name('d'), (before) => ({ ...before, displayName: 'D' }))
    const changed = await here.change(name('d'), (before) => ({ ...before, description: 'It sees.' }))
    expect(changed).toMatchObject({ displayName: 'D', description: 'It sees.' })
  })

  it('keeps replicas of the load here, until somebody changes the deployment', async () => {
    const store = new Memory()
    const here = await opened(store)
    await here.create(here.draft('a', 'd', 'pocket', wanted))
    const there = await opened(store)
    await here.note(here.find('a', 'd'), 3)
    await there.reload()
    expect([here.find('a', 'd').replicas, there.find('a', 'd').replicas]).toEqual([3, 1])
    await here.change(name('d'), (before) => ({ ...before, replicas: 2 }))
    await there.reload()
    expect(there.find('a', 'd').replicas).toBe(2)
    expect((await opened(store)).find('a', 'd').replicas).toBe(2)
  })

  it('does not keep replicas of a load before somebody changed the deployment', async () => {
    const registry = await opened(new Memory())
    await registry.create(registry.draft('a', 'd', 'pocket', wanted))
    const before = registry.find('a', 'd')
    await registry.change(name('d'), (now) => ({ ...now, replicas: 3 }))
    await registry.note(before, 1)
    expect(registry.find('a', 'd').replicas).toBe(3)
    expect([registry.isCurrent(before), registry.isCurrent(registry.find('a', 'd'))]).toEqual([false, true])
  })

  it('leaves what another version has made, and is not disturbed by it', async () => {
    const store = new Memory()
    await store.insert({ kind: 'deployment', account: 'a', id: 'other', body: '{"shape":"new"}' })
    const registry = await opened(store)
    expect(registry.list()).toEqual([])
    await registry.create(registry.draft('a', 'd', 'pocket', wanted))
    await registry.reload()
    expect([registry.list().length, store.kept.size]).toEqual([1, 2])
  })
})

it('a deployment that was deleted a week ago is gone with its adapters, and so are those of the last one of a name', async () => {
  const store = new Memory()
  const model = { id: 'pocket', version: '1' } as ModelCard
  const serve = async () => {
    const configured: ConfiguredDeployments = new ConfiguredDeployments({
      find: async () => model,
      make: (model, record) =>
        new Deployment(model, { total: 1 } as MemoryPlan, { budget: new MemoryBudget(1) } as SharedServices, record),
      ...{ bytesOf: () => 1, budget: 1, sequencesOf: () => 1, log },
      onReload: () => deployedModels.reload(),
      forget: (record) => deployedModels.forget(record),
    })
    const deployedModels = new DeployedModels({
      deployments: () => configured.records(() => true),
      adapter: async (id) => ({ id, fits: ['pocket'] }) as unknown as AdapterCard,
      load: async () => {},
      log,
    })
    await deployedModels.open(store)
    await configured.open(store)
    return { configured, deployedModels }
  }
  const kept = async () => (await store.list('deployed_model')).map(({ id }) => id)
  const first = await serve()
  for (const id of ['d', 'e']) await first.configured.create('a', { id, model: 'pocket', maxReplicas: 0 })
  await first.deployedModels.load('a', { adapter: 'one', deployment: 'd' }, false)
  await first.configured.remove('a', 'd')
  expect(await kept()).toEqual(['one-d'])
  const deleted = await opened(store)
  await deleted.change(name('d'), (before) => ({ ...before, deleted: Date.now() - purgeMs - 1000 }))
  const second = await serve()
  expect(second.configured.list().map(({ record }) => record.id)).toEqual(['e'])
  expect(await kept()).toEqual([])

  // The first server does not know yet that it is gone.
  await second.configured.remove('a', 'e', { purge: true })
  await first.deployedModels.load('a', { adapter: 'two', deployment: 'e' }, true)
  expect(await kept()).toEqual(['two-e'])
  await second.configured.create('a', { id: 'e', model: 'pocket', maxReplicas: 0 })
  expect(await kept()).toEqual([])
  await Promise.all([first, second].map(({ configured }) => configured.close()))
})

type Act = {
  kind: 'create' | 'change' | 'note' | 'purge' | 'reload'
  server: number
  id: string
  breaks?: 'before' | 'after'
}

it('after any changes by two servers, broken off anywhere, has for each deployment a state that somebody asked for', async () => {
  const act: fc.Arbitrary<Act> = fc.record(
    {
      kind: fc.constantFrom('create', 'change', 'note', 'purge', 'reload'),
      server: fc.nat(1),
      id: fc.constantFrom('d', 'e'),
      breaks: fc.constantFrom('before', 'after'),
    },
    { requiredKeys: ['kind', 'server', 'id'] },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 30 }), async (acts) => {
      const store = new Memory()
      const servers = [await opened(store), await opened(store)]
      /** What each deployment may be now, by its display name: a change that broke off may have happened or not. */
      const possible = new Map<string, Set<string | undefined>>()
      const may = (id: string): Set<string | undefined> => possible.get(id) ?? new Set([undefined])
      for (const [at, { kind, server, id, breaks }] of acts.entries()) {
        const registry = servers[server] as Registry
        store.breaks = breaks
        const text = String(at)
        const begin = (): Promise<unknown> => {
          if (kind === 'create')
            return registry.create({ ...registry.draft('a', id, 'pocket', wanted), displayName: text })
          if (kind === 'change') return registry.change(name(id), (before) => ({ ...before, displayName: text }))
          if (kind === 'note') {
            const known = registry.list().find((one) => one.id === id)
            return known === undefined ? Promise.resolve() : registry.note(known, at % 4)
          }
          return kind === 'purge' ? registry.purge(name(id)) : registry.reload()
        }
        const after = kind === 'purge' ? undefined : kind === 'note' || kind === 'reload' ? null : text
        try {
          await begin()
          if (after !== null) possible.set(id, new Set([after]))
        } catch (error) {
          // What is refused has changed nothing.
          if (error instanceof OrielError && error.kind !== 'overloaded') continue
          if (after !== null && breaks === 'after') possible.set(id, new Set([...may(id), after]))
        } finally {
          store.breaks = undefined
        }
      }
      const now = (await opened(store)).list()
      for (const id of ['d', 'e']) {
        const found: DeploymentRecord | undefined = now.find((one) => one.id === id)
        expect([...may(id)]).toContain(found?.displayName)
      }
      for (const server of servers) {
        await server.reload()
        expect(server.list().map(({ displayName }) => displayName)).toEqual(now.map(({ displayName }) => displayName))
      }
    }),
  )
})
