import koffi from 'koffi'
import { type Affinity, openAffinity } from './affinity.ts'
import { functionsOf, type Pointer } from './function.ts'
import type { Backend } from './ggml.ts'
import type { Libraries } from './libraries.ts'
import type { LlamaContext } from './llama.ts'
import { threadPoolParams } from './structs.ts'

/** ggml's threads for one decoder, which persist from graph to graph. */
export interface ThreadPool {
  attach(context: LlamaContext): void
  /** Of the CPU, for graphs of our own. */
  attachTo(backend: Backend): void
  /**
   * Sets the number of threads of the next graphs. Several are pinned to different cores; a single one is pinned only
   * beside an encoder.
   * @param beside whether an encoder has the other cores (`confinement`)
   */
  use(threads: number, beside: boolean): void
  /** To be called after the context is freed. */
  free(): void
}

/**
 * By default ggml makes new threads for every graph, and they spin while they wait for each other. Two threads that the
 * kernel puts on one core take turns by its time slices at each of a graph's hundreds of barriers. On two cores that also
 * served a client, a token took 11 ms in the median and 53 at worst. With persistent threads, each pinned to a core, it
 * took 7.3 ms and 14 at worst.
 */
export function bindThreadPools({ ggml, ggmlBase, llama }: Libraries) {
  const defaults: (threads: number) => object = ggmlBase.func('ggml_threadpool_params_default', threadPoolParams, [
    'int',
  ])
  const registry = functionsOf(ggml)<(name: string) => Pointer | null>('void* ggml_backend_reg_by_name(const char*)')
  const getProcedure = functionsOf(ggmlBase)<(registry: Pointer, name: string) => Pointer | null>(
    'void* ggml_backend_reg_get_proc_address(void*, const char*)',
  )
  const creator = koffi.proto('ggml_threadpool_new', 'void*', [koffi.pointer(threadPoolParams)])
  const poolSetter = koffi.proto('void ggml_backend_cpu_set_threadpool(void*, void*)')
  const destroyer = koffi.proto('void ggml_threadpool_free(void*)')
  const attach = functionsOf(llama)<(context: LlamaContext, pool: Pointer, batchPool: Pointer) => void>(
    'void llama_attach_threadpool(void*, void*, void*)',
  )
  const procedure = (name: string): Pointer | null => {
    const cpu = registry('CPU')
    return cpu === null ? null : getProcedure(cpu, name)
  }

  /**
   * @param free whether its threads may move between cores: those of a process that others go before
   * @returns null if ggml's CPU back end has no thread pools
   */
  return (threads: number, { free = false }: { free?: boolean } = {}): ThreadPool | null => {
    const [create, destroy] = [procedure('ggml_threadpool_new'), procedure('ggml_threadpool_free')]
    const setPool = procedure('ggml_backend_cpu_set_threadpool')
    if (create === null || destroy === null || setPool === null) return null
    const affinity = free ? null : openAffinity()
    // Without polling an idle thread sleeps, and its core is free for the server.
    const newPool = (): Pointer => koffi.call(create, creator, { ...defaults(threads), poll: 0 })
    const [pool, helpers] = affinity?.startedBy('decoder', newPool) ?? [newPool(), []]
    // With a core to spare the kernel separates the threads by itself, and another engine may use the same cores.
    const pinned = affinity?.cpus.length === threads && threads > 1 ? pinApart(affinity, helpers) : null
    return {
      attach: (context) => attach(context, pool, pool),
      attachTo: (backend) => koffi.call(setPool, poolSetter, backend, pool),
      use: (count, beside) => pinned?.(count > 1 || beside),
      free() {
        pinned?.(false)
        koffi.call(destroy, destroyer, pool)
      },
    }
  }
}

/**
 * Pins each thread of a pool to a core of its own. The helpers stay pinned. The main thread, which runs the asynchronous
 * calls, is pinned only while the helpers or an encoder compute too: else it moves, so that two engines do not share a core.
 * @returns to be called with whether the main thread is pinned from now on
 */
function pinApart(affinity: Affinity, helpers: readonly number[]) {
  const { cpus } = affinity
  const last = cpus.slice(-1)
  for (const [index, thread] of helpers.entries()) affinity.allow(thread, [cpus[index] ?? 0])
  let main: number | undefined
  let apart = false
  void affinity.worker().then((thread) => {
    main = thread
    if (apart) affinity.allow(thread, last)
  })
  return (pinned: boolean): void => {
    if (apart === pinned) return
    apart = pinned
    if (main !== undefined) affinity.allow(main, apart ? last : cpus)
  }
}

/**
 * Confines an encoder's threads to the cores that the decoder does not use. Otherwise some of them wait behind the decoder
 * on its core, and the rest wait for them at barriers: on two cores a tile of SmolVLM-256M took 3.0 s beside a running
 * answer, and 2.4 s on the one core that the answer left free.
 * @param all number of threads of the decoder's pool
 * @param used number of threads that the decoder uses meanwhile
 * @returns a function that confines the threads or frees them again; null if no core is left to them
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
