import koffi from 'koffi'

/**
 * Structs that are passed by value, field for field as in llama.cpp release v0.5.0 (`include/llama.h`,
 * `ggml/include/{ggml,gguf}.h`). A wrong field would read garbage silently, so `abi.ts` reads the defaults back before
 * anything else runs.
 */
const pointer = 'void*'

export const ggmlInitParams = koffi.struct({ mem_size: 'size_t', mem_buffer: pointer, no_alloc: 'bool' })

export const ggufInitParams = koffi.struct({ no_alloc: 'bool', ctx: pointer })

const modelFields = {
  devices: pointer,
  tensor_buft_overrides: pointer,
  n_gpu_layers: 'int32',
  split_mode: 'int32',
  load_mode: 'int32',
  lazy_mode: 'int32',
  main_gpu: 'int32',
  tensor_split: pointer,
  progress_callback: pointer,
  progress_callback_user_data: pointer,
  kv_overrides: pointer,
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
} as const

export const modelParams = koffi.struct(modelFields)

const contextFields = {
  n_ctx: 'uint32',
  n_batch: 'uint32',
  n_ubatch: 'uint32',
  n_seq_max: 'uint32',
  n_rs_seq: 'uint32',
  n_outputs_max: 'uint32',
  n_outputs_max_per_seq: 'uint32',
  n_threads: 'int32',
  n_threads_batch: 'int32',
  ctx_type: 'int32',
  rope_scaling_type: 'int32',
  pooling_type: 'int32',
  attention_type: 'int32',
  flash_attn_type: 'int32',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32',
  defrag_thold: 'float',
  cb_eval: pointer,
  cb_eval_user_data: pointer,
  type_k: 'int32',
  type_v: 'int32',
  abort_callback: pointer,
  abort_callback_data: pointer,
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: pointer,
  n_samplers: 'size_t',
  ctx_other: pointer,
} as const

export const contextParams = koffi.struct(contextFields)

export const batch = koffi.struct({
  n_tokens: 'int32',
  token: pointer,
  embd: pointer,
  pos: pointer,
  n_seq_id: pointer,
  seq_id: pointer,
  logits: pointer,
})

/** `struct ggml_threadpool_params`, whose mask has a flag for each of `GGML_MAX_N_THREADS` cores. */
export const threadPoolParams = koffi.struct({
  cpumask: koffi.array('uint8', 512),
  n_threads: 'int32',
  prio: 'int32',
  poll: 'uint32',
  strict_cpu: 'bool',
  paused: 'bool',
})

export const samplerChainParams = koffi.struct({ no_perf: 'bool' })

export const logitBias = koffi.struct({ token: 'int32', bias: 'float' })

/** The values of a struct, as koffi reads and takes them. */
type Values<Fields> = {
  [Name in keyof Fields]: Fields[Name] extends 'bool' ? boolean : Fields[Name] extends 'void*' ? bigint | null : number
}

export type ModelParams = Values<typeof modelFields>
export type ContextParams = Values<typeof contextFields>
