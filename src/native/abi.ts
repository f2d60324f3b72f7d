import { OrielError } from '../errors.ts'
import type { Libraries } from './libraries.ts'
import {
  batch,
  type ContextParams,
  contextParams,
  type ModelParams,
  modelParams,
  samplerChainParams,
  threadPoolParams,
} from './structs.ts'

/** The release whose headers `structs.ts` was written after. */
const release = '0.5.0'

/**
 * Reads every default back through our struct layouts and compares it with the value that the release's sources give it
 * (`llama_model_default_params` in src/llama-model.cpp, `llama_context_default_params` in src/llama-context.cpp).
 * A field that moved shows as a value that is not the expected one.
 * @throws OrielError `internal` that names the field: running on would corrupt memory.
 */
export function checkAbi({ llama, ggmlBase }: Pick<Libraries, 'llama' | 'ggmlBase'>): void {
  const version = String(llama.func('const char* llama_version()')())
  const model: ModelParams = llama.func('llama_model_default_params', modelParams, [])()
  const context: ContextParams = llama.func('llama_context_default_params', contextParams, [])()
  compareDefaults(version, 'llama_model_params', model, {
    n_gpu_layers: -1,
    split_mode: 1,
    main_gpu: 0,
    vocab_only: false,
    check_tensors: false,
    use_extra_bufts: true,
    no_alloc: false,
  })
  compareDefaults(version, 'llama_context_params', context, {
    n_ctx: 512,
    n_batch: 2048,
    n_ubatch: 512,
    n_seq_max: 1,
    flash_attn_type: -1,
    pooling_type: -1,
    rope_scaling_type: -1,
    yarn_ext_factor: -1,
    yarn_beta_fast: -1,
    yarn_beta_slow: -1,
    defrag_thold: -1,
    type_k: 1,
    type_v: 1,
    embeddings: false,
    offload_kqv: true,
    no_perf: true,
    kv_unified: false,
  })
  const chain: object = llama.func('llama_sampler_chain_default_params', samplerChainParams, [])()
  compareDefaults(version, 'llama_sampler_chain_params', chain, { no_perf: true })
  const threads: object = ggmlBase.func('ggml_threadpool_params_default', threadPoolParams, ['int'])(3)
  compareDefaults(version, 'ggml_threadpool_params', threads, { n_threads: 3, poll: 50, strict_cpu: false })
  // A batch has no defaults, but the library makes one of a pointer and a count.
  const made: object = llama.func('llama_batch_get_one', batch, ['void*', 'int32'])(null, 7)
  compareDefaults(version, 'llama_batch', made, { n_tokens: 7, logits: null })
}

function compareDefaults<T extends object>(version: string, struct: string, found: T, expected: Partial<T>): void {
  for (const [field, value] of Object.entries(expected)) {
    const actual = found[field as keyof T]
    if (actual === value) continue
    throw new OrielError(
      'internal',
      `The llama.cpp library (version ${version}) does not fit: ${struct}.${field} reads ${String(actual)} where release ${release} has ${String(value)}. Install exactly the version that package-lock.json names.`,
    )
  }
}
