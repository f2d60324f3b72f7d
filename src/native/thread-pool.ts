import { readFileSync } from 'node:fs'
import koffi from 'koffi'
import { declare, type Pointer } from './function.ts'
import type { Libraries } from './libraries.ts'
import type { LlamaContext } from './llama.ts'
import { threadPoolParams } from './structs.ts'

export type ThreadPool = Pointer & { readonly threadPool: unique symbol }

export type ThreadPools = ReturnType<typeof bindThreadPools>

/**
 * ggml's threads, kept from one graph to the next. Left alone ggml makes new ones for every graph, and they spin while they
 * wait for each other: two that the kernel puts on one core take turns by its time slices, at each of a graph's hundreds
 * of barriers. On two cores with a client to serve that made a token of 7 ms one of 11 in the middle and of 53 at worst;
 * threads that stay, each on a core of its own, took 7.3 ms and 14 at worst.
 */
export function bindThreadPools({ ggml, ggmlBase, llama }: Libraries) {
  const defaults: (threads: number) => Params = ggmlBase.func('ggml_threadpool_params_default', threadPoolParams, [
    'int',
  ])
  const registry = declare<(name: string) => Pointer | null>(ggml, 'void* ggml_backend_reg_by_name(const char*)')
  const getProcedure = declare<(registry: Pointer, name: string) => Pointer | null>(
    ggmlBase,
    'void* ggml_backend_reg_get_proc_address(void*, const char*)',
  )
  const creator = koffi.proto('ggml_threadpool_new', 'void*', [koffi.pointer(threadPoolParams)])
  const destroyer = koffi.proto('void ggml_threadpool_free(void*)')
  const attach = declare<(context: LlamaContext, pool: ThreadPool, batchPool: ThreadPool) => void>(
    llama,
    'void llama_attach_threadpool(void*, void*, void*)',
  )
  const procedure = (name: string): Pointer | null => {
    const cpu = registry('CPU')
    return cpu === null ? null : getProcedure(cpu, name)
  }

  return {
    /**
     * Threads for a decoder. The first graph pins the thread that runs it to its core too, so all of a pool's graphs must
     * run on one thread.
     * @returns null where ggml keeps no threads of its own
     */
    create: (threads: number): ThreadPool | null => {
      const create = procedure('ggml_threadpool_new')
      if (create === null) return null
      const params = defaults(threads)
      const cpus = allowedCpus()
      // With a core to spare the kernel moves them apart by itself, and another engine may have its own on the same ones.
      const pinned = threads > 1 && cpus.length === threads && cpus.every((cpu) => cpu < params.cpumask.length)
      if (pinned) for (const cpu of cpus) params.cpumask[cpu] = 1
      return koffi.call(create, creator, { ...params, strict_cpu: pinned, poll: 0, paused: true })
    },
    attach: (context: LlamaContext, pool: ThreadPool): void => attach(context, pool, pool),
    free: (pool: ThreadPool): void => {
      const destroy = procedure('ggml_threadpool_free')
      if (destroy !== null) koffi.call(destroy, destroyer, pool)
    },
  }
}

interface Params {
  cpumask: number[] | Uint8Array
  n_threads: number
  prio: number
  poll: number
  strict_cpu: boolean
  paused: boolean
}

/** The cores that this process may run on, where the system tells. */
function allowedCpus(): number[] {
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
    return list.split(',').flatMap((range) => {
      const [first = Number.NaN, last = first] = range.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, index) => first + index)
    })
  } catch {
    return []
  }
}
