import koffi from 'koffi'
import { LRUCache } from 'lru-cache'
import { functionsOf, type Pointer } from './function.ts'
import type { Libraries } from './libraries.ts'
import * as structs from './structs.ts'

export type Model = Pointer & { readonly model: unique symbol }
export type Vocab = Pointer & { readonly vocab: unique symbol }
export type LlamaContext = Pointer & { readonly llamaContext: unique symbol }
export type Memory = Pointer & { readonly memory: unique symbol }
export type Sampler = Pointer & { readonly sampler: unique symbol }
export type NativeAdapter = Pointer & { readonly adapter: unique symbol }

/** `llama_batch` by value. Its arrays are in native memory: see `batch.ts`. */
export interface NativeBatch {
  n_tokens: number
  token: Pointer | null
  embd: Pointer | null
  pos: Pointer
  n_seq_id: Pointer
  seq_id: Pointer
  logits: Pointer
}

type Token = number

/** The part of libllama that a decoder needs. Names are its own without the prefix; `llama.h` documents them. */
export type Llama = ReturnType<typeof bindLlama>

export function bindLlama({ llama }: Libraries) {
  const bind = functionsOf(llama)
  const modelDefaults = llama.func('llama_model_default_params', structs.modelParams, [])
  const contextDefaults = llama.func('llama_context_default_params', structs.contextParams, [])
  const chainInit = llama.func('llama_sampler_chain_init', 'void*', [structs.samplerChainParams])
  const loadModel = llama.func('llama_model_load_from_file', 'void*', ['const char*', structs.modelParams])
  const progressCallback = koffi.proto('bool(float, void*)')
  /** An empty, terminated list. */
  const noDevices = koffi.alloc('void*', 1)
  koffi.encode(noDevices, 'void*', null)
  const initContext = llama.func('llama_init_from_model', 'void*', ['void*', structs.contextParams])
  type Compute = (context: LlamaContext, batch: NativeBatch) => Promise<number>
  const computes = (name: string): Compute => {
    const run = llama.func(name, 'int32', ['void*', structs.batch])
    return (context, batch) =>
      new Promise((resolve, reject) => {
        run.async(context, batch, (error: unknown, code: number) => (error ? reject(error) : resolve(code)))
      })
  }
  const biases = koffi.pointer(structs.logitBias)
  const logitBias = llama.func('llama_sampler_init_logit_bias', 'void*', ['int32', 'int32', biases])
  const logitsAt = bind<(context: LlamaContext, index: number) => Pointer | null>(
    'void* llama_get_logits_ith(void*, int32)',
  )
  const pooledOf = bind<(context: LlamaContext, sequence: number) => Pointer | null>(
    'void* llama_get_embeddings_seq(void*, int32)',
  )
  const loadAdapter = llama.func('void* llama_adapter_lora_init(void*, const char*)')
  const setAdapters = bind<
    (context: LlamaContext, adapters: Pointer | null, count: number, scales: Float32Array | null) => number
  >('int32 llama_set_adapters_lora(void*, void*, size_t, void*)')
  /** The only adapter of a call. */
  const oneAdapter: Pointer = koffi.alloc('void*', 1)
  const invocationLength = bind<(adapter: NativeAdapter) => number | bigint>(
    'uint64 llama_adapter_get_alora_n_invocation_tokens(void*)',
  )
  const invocationTokens = bind<(adapter: NativeAdapter) => Pointer>(
    'void* llama_adapter_get_alora_invocation_tokens(void*)',
  )
  /** Views of rows by their addresses, which are few: V8 counts the bytes of each new view, and would collect garbage for them. */
  const rows = new LRUCache<Pointer, Float32Array>({ max: 512 })
  const layers = bind<(model: Model) => number>('int32 llama_model_n_layer(void*)')
  const heads = bind<(model: Model) => number>('int32 llama_model_n_head(void*)')
  const width = bind<(model: Model) => number>('int32 llama_model_n_embd(void*)')
  const parameters = bind<(model: Model) => number | bigint>('uint64 llama_model_n_params(void*)')
  const ropeType = bind<(model: Model) => number>('int llama_model_rope_type(void*)')
  const metadataValue = bind<(model: Model, key: string, out: Uint8Array, space: number) => number>(
    'int32 llama_model_meta_val_str(void*, const char*, void*, size_t)',
  )
  const metadata = (model: Model, key: string): string | null => {
    const out = Buffer.alloc(1024)
    const length = metadataValue(model, key, out, out.length)
    return length < 0 ? null : out.toString('utf8', 0, Math.min(length, out.length - 1))
  }
  const ofArchitecture = (model: Model, key: string): string | null =>
    metadata(model, `${metadata(model, 'general.architecture')}.${key}`)
  const headWidth = (model: Model): number =>
    Number(ofArchitecture(model, 'attention.key_length') ?? width(model) / heads(model))
  const stateSize = bind<(context: LlamaContext, sequence: number) => number | bigint>(
    'size_t llama_state_seq_get_size(void*, int32)',
  )
  type StateCopy = (context: LlamaContext, state: Uint8Array, bytes: number, sequence: number) => number | bigint
  const saveState = bind<StateCopy>('size_t llama_state_seq_get_data(void*, void*, size_t, int32)')
  const restoreState = bind<StateCopy>('size_t llama_state_seq_set_data(void*, const void*, size_t, int32)')
  const partSize = bind<(context: LlamaContext, sequence: number, flags: number) => number | bigint>(
    'size_t llama_state_seq_get_size_ext(void*, int32, uint32)',
  )
  const savePart = llama.func('llama_state_seq_get_data_ext', 'size_t', ['void*', 'void*', 'size_t', 'int32', 'uint32'])
  const restorePart = bind<
    (context: LlamaContext, state: Uint8Array, bytes: number, sequence: number, flags: number) => number | bigint
  >('size_t llama_state_seq_set_data_ext(void*, const void*, size_t, int32, uint32)')
  /** `LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY` */
  const partialOnly = 1
  llama.func('void llama_backend_init()')()

  return {
    /**
     * @param gpuLayers including the output layer; 0: no GPU is used at all
     * @param onProgress called with the share of the weights that is loaded, during the call
     * @returns null for a file that is truncated, of an unknown architecture or not a GGUF, or if memory is short
     */
    loadModel: (file: string, gpuLayers: number, onProgress: (share: number) => void): Model | null => {
      const report = (share: number): boolean => {
        onProgress(share)
        return true
      }
      const callback = koffi.register(report, koffi.pointer(progressCallback))
      try {
        const params: structs.ModelParams = modelDefaults()
        return loadModel(file, {
          ...params,
          n_gpu_layers: gpuLayers,
          devices: gpuLayers === 0 ? noDevices : null,
          progress_callback: callback,
        })
      } finally {
        koffi.unregister(callback)
      }
    },
    /** Bytes of a model's weights, including all parts of a split file. */
    modelSize: bind<(model: Model) => number | bigint>('uint64 llama_model_size(void*)'),
    freeModel: bind<(model: Model) => void>('void llama_model_free(void*)'),
    /** @returns null if its memory cannot be allocated */
    initContext: (model: Model, params: Partial<structs.ContextParams>): LlamaContext | null =>
      initContext(model, { ...contextDefaults(), ...params }),
    freeContext: bind<(context: LlamaContext) => void>('void llama_free(void*)'),

    /**
     * Reads an adapter's file off the event loop. Not to be called during a decode.
     * @returns null for a file that does not belong to the model, or if memory is short
     */
    loadAdapter: (model: Model, file: string): Promise<NativeAdapter | null> =>
      new Promise((resolve, reject) => {
        loadAdapter.async(model, file, (error: unknown, adapter: NativeAdapter | null) =>
          error ? reject(error) : resolve(adapter),
        )
      }),
    /** Frees an adapter that no context uses. Not to be called during a decode or another load. */
    freeAdapter: bind<(adapter: NativeAdapter) => void>('void llama_adapter_lora_free(void*)'),
    /** Makes a context compute with one adapter, or with none: the next decode makes its graphs anew. */
    useAdapter: (context: LlamaContext, adapter: NativeAdapter | null, scale: number): void => {
      if (adapter === null) {
        setAdapters(context, null, 0, null)
        return
      }
      koffi.encode(oneAdapter, 'void*', adapter)
      setAdapters(context, oneAdapter, 1, Float32Array.of(scale))
    },
    /** The tokens from which on an adapter is to be used (aLoRA); empty for all others. */
    invocation: (adapter: NativeAdapter): number[] => {
      const length = Number(invocationLength(adapter))
      return length === 0 ? [] : [...new Int32Array(koffi.view(invocationTokens(adapter), length * 4))]
    },

    vocab: bind<(model: Model) => Vocab>('void* llama_model_get_vocab(void*)'),
    contextTrain: bind<(model: Model) => number>('int32 llama_model_n_ctx_train(void*)'),
    isRecurrent: bind<(model: Model) => boolean>('bool llama_model_is_recurrent(void*)'),
    isHybrid: bind<(model: Model) => boolean>('bool llama_model_is_hybrid(void*)'),
    hasEncoder: bind<(model: Model) => boolean>('bool llama_model_has_encoder(void*)'),
    /** Whether positions have rows and columns: `LLAMA_ROPE_TYPE_MROPE` and `LLAMA_ROPE_TYPE_IMROPE`. */
    hasGridPositions: (model: Model): boolean => [8, 40].includes(ropeType(model)),
    /** Width of an embedding in place of a token: wider than the model if later layers use a part of it. */
    embeddingWidth: bind<(model: Model) => number>('int32 llama_model_n_embd_inp(void*)'),
    /** Numbers of an embedding of a text. */
    pooledWidth: bind<(model: Model) => number>('int32 llama_model_n_embd_out(void*)'),
    /** Multiplications of one row: with the weights, and with each cell that it attends to. */
    rowWork: (model: Model): { weights: number; perCell: number } => ({
      weights: Number(parameters(model)),
      perCell: 2 * layers(model) * heads(model) * headWidth(model),
    }),
    metadata,
    chatTemplate: bind<(model: Model, name: null) => string | null>(
      'const char* llama_model_chat_template(void*, const char*)',
    ),
    contextSize: bind<(context: LlamaContext) => number>('uint32 llama_n_ctx(void*)'),
    batchSize: bind<(context: LlamaContext) => number>('uint32 llama_n_batch(void*)'),
    setThreads: bind<(context: LlamaContext, decode: number, batch: number) => void>(
      'void llama_set_n_threads(void*, int32, int32)',
    ),
    /** Whether the rows of the next batches attend only to earlier ones. */
    setCausal: bind<(context: LlamaContext, causal: boolean) => void>('void llama_set_causal_attn(void*, bool)'),

    /** `enum llama_vocab_type` */
    vocabType: bind<(vocab: Vocab) => number>('int llama_vocab_type(void*)'),
    vocabSize: bind<(vocab: Vocab) => number>('int32 llama_vocab_n_tokens(void*)'),
    tokenText: bind<(vocab: Vocab, token: Token) => string | null>('const char* llama_vocab_get_text(void*, int32)'),
    isControl: bind<(vocab: Vocab, token: Token) => boolean>('bool llama_vocab_is_control(void*, int32)'),
    isEndOfGeneration: bind<(vocab: Vocab, token: Token) => boolean>('bool llama_vocab_is_eog(void*, int32)'),
    bos: bind<(vocab: Vocab) => Token>('int32 llama_vocab_bos(void*)'),
    eos: bind<(vocab: Vocab) => Token>('int32 llama_vocab_eos(void*)'),
    addsBos: bind<(vocab: Vocab) => boolean>('bool llama_vocab_get_add_bos(void*)'),
    tokenize: bind<
      (
        vocab: Vocab,
        text: Uint8Array,
        bytes: number,
        out: Int32Array,
        space: number,
        special: boolean,
        parse: boolean,
      ) => number
    >('int32 llama_tokenize(void*, const void*, int32, void*, int32, bool, bool)'),
    tokenToPiece: bind<
      (vocab: Vocab, token: Token, out: Uint8Array, space: number, lstrip: number, special: boolean) => number
    >('int32 llama_token_to_piece(void*, int32, void*, int32, int32, bool)'),

    /** @returns null for a model without KV memory */
    memory: bind<(context: LlamaContext) => Memory | null>('void* llama_get_memory(void*)'),
    sequenceRemove: bind<(memory: Memory, sequence: number, from: number, to: number) => boolean>(
      'bool llama_memory_seq_rm(void*, int32, int32, int32)',
    ),
    sequenceCopy: bind<(memory: Memory, source: number, target: number, from: number, to: number) => void>(
      'void llama_memory_seq_cp(void*, int32, int32, int32, int32)',
    ),

    stateSize: (context: LlamaContext, sequence: number): number => Number(stateSize(context, sequence)),
    /** @returns bytes written */
    saveState: (context: LlamaContext, out: Uint8Array, space: number, sequence: number): number =>
      Number(saveState(context, out, space, sequence)),
    /** @returns bytes read; 0 if there is no space */
    restoreState: (context: LlamaContext, state: Uint8Array, bytes: number, sequence: number): number =>
      Number(restoreState(context, state, bytes, sequence)),

    /** Bytes of the state that a sequence of a hybrid model has beside its KV, as `saveEnd` copies it. */
    endSize: (context: LlamaContext, sequence: number): number => Number(partSize(context, sequence, partialOnly)),
    /** A copy of the state that a sequence of a hybrid model has beside its KV, made off the event loop. */
    saveEnd: (context: LlamaContext, sequence: number): Promise<Uint8Array> => {
      const state = new Uint8Array(Number(partSize(context, sequence, partialOnly)))
      return new Promise((resolve, reject) => {
        savePart.async(
          context,
          state,
          state.length,
          sequence,
          partialOnly,
          (error: unknown, bytes: number | bigint) => {
            if (error) reject(error)
            else if (Number(bytes) !== state.length) reject(new Error('the state of a sequence could not be copied'))
            else resolve(state)
          },
        )
      })
    },
    /** Replaces that state of a sequence, and leaves its KV. @returns bytes read */
    restoreEnd: (context: LlamaContext, state: Uint8Array, sequence: number): number =>
      Number(restorePart(context, state, state.length, sequence, partialOnly)),

    /** Runs off the event loop. 0: done; 1: no space in the KV memory, nothing has changed; 2: aborted; negative: an error. */
    decode: computes('llama_decode'),
    /** The same for a model without KV memory. The batch has whole sequences. */
    encode: computes('llama_encode'),
    /** Logits of the batch's row `index`, which must be a wanted row. The view is valid until the next decode. */
    logits: (context: LlamaContext, index: number, vocabulary: number): Float32Array => {
      const at = logitsAt(context, index)
      if (at === null) throw new Error(`row ${index} of the batch has no logits`)
      const known = rows.get(at)
      if (known?.length === vocabulary) return known
      const row = new Float32Array(koffi.view(at, vocabulary * 4))
      rows.set(at, row)
      return row
    },

    /** A copy of the embedding of a sequence of the last batch. */
    pooled: (context: LlamaContext, sequence: number, width: number): Float32Array => {
      const at = pooledOf(context, sequence)
      if (at === null) throw new Error(`sequence ${sequence} of the batch has no embedding`)
      return new Float32Array(koffi.view(at, width * 4)).slice()
    },

    newChain: (): Sampler => chainInit({ no_perf: true }),
    chainAdd: bind<(chain: Sampler, sampler: Sampler) => void>('void llama_sampler_chain_add(void*, void*)'),
    freeSampler: bind<(sampler: Sampler) => void>('void llama_sampler_free(void*)'),
    sample: bind<(chain: Sampler, context: LlamaContext, index: number) => Token>(
      'int32 llama_sampler_sample(void*, void*, int32)',
    ),
    samplerApply: bind<(sampler: Sampler, candidates: Pointer) => void>('void llama_sampler_apply(void*, void*)'),
    samplerAccept: bind<(sampler: Sampler, token: Token) => void>('void llama_sampler_accept(void*, int32)'),
    greedy: bind<() => Sampler>('void* llama_sampler_init_greedy()'),
    dist: bind<(seed: number) => Sampler>('void* llama_sampler_init_dist(uint32)'),
    topK: bind<(k: number) => Sampler>('void* llama_sampler_init_top_k(int32)'),
    topP: bind<(p: number, keep: number) => Sampler>('void* llama_sampler_init_top_p(float, size_t)'),
    minP: bind<(p: number, keep: number) => Sampler>('void* llama_sampler_init_min_p(float, size_t)'),
    typical: bind<(p: number, keep: number) => Sampler>('void* llama_sampler_init_typical(float, size_t)'),
    mirostat: bind<(seed: number, target: number, rate: number) => Sampler>(
      'void* llama_sampler_init_mirostat_v2(uint32, float, float)',
    ),
    temperature: bind<(t: number) => Sampler>('void* llama_sampler_init_temp(float)'),
    penalties: bind<(vocabulary: number, last: number, repeat: number, frequency: number, presence: number) => Sampler>(
      'void* llama_sampler_init_penalties(int32, int32, float, float, float)',
    ),
    logitBias: (vocabulary: number, biases: readonly { token: number; bias: number }[]): Sampler =>
      logitBias(vocabulary, biases.length, biases),
  }
}
