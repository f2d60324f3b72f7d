import koffi from 'koffi'
import { type Affinity, openAffinity } from './affinity.ts'
import { declare, type Pointer } from './function.ts'
import type { Libraries } from './libraries.ts'
import type { LlamaContext } from './llama.ts'
import { threadPoolParams } from './structs.ts'

/** ggml's threads for one decoder, kept from one graph to the next. */
export interface ThreadPool {
  attach(context: LlamaContext): void
  /** Tells how many of them the next graphs use: more than one are kept apart, one alone may go anywhere. */
  use(threads: number): void
  /** Only after the context is gone. */
  free(): void
}

export type ThreadPools = ReturnType<typeof bindThreadPools>

/**
 * Left alone ggml makes new threads for every graph, and they spin while they wait for each other: two that the kernel
 * puts on one core take turns by its time slices, at each of a graph's hundreds of barriers. On two cores with a client to
 * serve that made a token of 7 ms one of 11 in the middle and of 53 at worst; threads that stay, each on a core of its
 * own, took 7.3 ms and 14 at worst.
 */
export function bindThreadPools({ ggml, ggmlBase, llama }: Libraries) {
  const defaults: (threads: number) => object = ggmlBase.func('ggml_threadpool_params_default', threadPoolParams, [
    'int',
  ])
  const registry = declare<(name: string) => Pointer | null>(ggml, 'void* ggml_backend_reg_by_name(const char*)')
  const getProcedure = declare<(registry: Pointer, name: string) => Pointer | null>(
    ggmlBase,
    'void* ggml_backend_reg_get_proc_address(void*, const char*)',
  )
  const creator = koffi.proto('ggml_threadpool_new', 'void*', [koffi.pointer(threadPoolParams)])
  const destroyer = koffi.proto('void ggml_threadpool_free(void*)')
  const attach = declare<(context: LlamaContext, pool: Pointer, batchPool: Pointer) => void>(
    llama,
    'void llama_attach_threadpool(void*, void*, void*)',
  )
  const procedure = (name: string): Pointer | null => {
    const cpu = registry('CPU')
    return cpu === null ? null : getProcedure(cpu, name)
  }

  return {
    /** @returns null where ggml keeps no threads of its own */
    create: (threads: number): ThreadPool | null => {
      const [create, destroy] = [procedure('ggml_threadpool_new'), procedure('ggml_threadpool_free')]
      if (create === null || destroy === null) return null
      const affinity = openAffinity()
      const started = affinity?.startedFromNow()
      // Without polling a thread that has nothing to do sleeps, and the core is free for whoever serves the client.
      const pool: Pointer = koffi.call(create, creator, { ...defaults(threads), poll: 0 })
      const helpers = started?.() ?? []
      // With a core to spare the kernel moves them apart by itself, and others may have theirs on the same ones.
      const cores = affinity?.cpus.length === threads && threads > 1 ? keepApart(affinity, helpers) : null
      return {
        attach: (context) => attach(context, pool, pool),
        use: (count) => cores?.use(count),
        free() {
          cores?.use(1)
          koffi.call(destroy, destroyer, pool)
        },
      }
    },
  }
}

/**
 * Each thread of a pool on a core of its own: those that help for good, and the one that computes with them, which is
 * whatever thread runs asynchronous calls, only while they do. Alone on a core of its choice it does not meet another
 * engine's that is alone too.
 */
function keepApart(affinity: Affinity, helpers: readonly number[]) {
  const { cpus } = affinity
  const last = cpus.slice(-1)
  for (const [index, thread] of helpers.entries()) affinity.allow(thread, [cpus[index] ?? 0])
  let main: number | undefined
  let apart = false
  void affinity.worker().then((thread) => {
    main = thread
    if (apart) affinity.allow(thread, last)
  })
  return {
    use(count: number): void {
      if (apart === count > 1) return
      apart = count > 1
      if (main !== undefined) affinity.allow(main, apart ? last : cpus)
    },
  }
}

/**
 * For threads of another kind that compute while a decoder does. Left alone they wait behind it on its own core now and
 * then, and all others of their kind with them where they meet: on two cores a tile of SmolVLM-256M took 3.0 s beside a
 * running answer, and 2.4 s on the one core that the answer left. So they go to the cores of those helpers that have
 * nothing to do.
 * @param all threads of the decoder's pool. @param used those that it uses meanwhile
 * @returns takes them there, and lets them go anywhere again; null where there is nothing to choose
 */
export function confinement(
  threads: readonly number[],
  all: number,
  used: number,
): ((confined: boolean) => void) | null {
  const affinity = openAffinity()
  const idle = affinity?.cpus.slice(used - 1, -1) ?? []
  if (affinity === null || affinity.cpus.length !== all || idle.length === 0) return null
  return (confined) => {
    for (const thread of threads) affinity.allow(thread, confined ? idle : affinity.cpus)
  }
}
