import { keyOf, type ResourceStore } from '../../src/deployments/index.ts'

type Kept = Parameters<ResourceStore['replace']>[0]

/** A store of records in memory, as the database has one. */
export function memoryResources(): ResourceStore {
  const kept = new Map<string, Kept>()
  const key = (name: Pick<Kept, 'kind' | 'account' | 'id'>): string => `${name.kind} ${keyOf(name)}`
  return {
    list: async (kind) => [...kept.values()].filter((one) => one.kind === kind),
    async insert(resource) {
      if (kept.has(key(resource))) return false
      kept.set(key(resource), { ...resource, revision: 1 })
      return true
    },
    async replace(resource) {
      if (kept.get(key(resource))?.revision !== resource.revision) return false
      kept.set(key(resource), { ...resource, revision: resource.revision + 1 })
      return true
    },
    async remove(name) {
      kept.delete(key(name))
    },
  }
}
