/** How the engine of one model runs. Every number is decided by the caller: none has a default here. */
export interface EngineSettings {
  /** Cores for the decoder and the encoders together. */
  threads: number
  /** Cells of KV memory, shared by all running sequences. */
  contextCells: number
  /** Sequences that run at once; other requests wait in the queue. */
  maxSequences: number
  /** Maximum number of prefill rows in one step. */
  chunkTokens: number
  /** Maximum number of requests in the queue. */
  maxQueue: number
  /** Bytes of embeddings that are kept for images that come again. */
  encoderCacheBytes: number
  /** Bytes of prefixes that are kept outside the KV memory. */
  prefixCacheBytes: number
  /** Element type of the KV memory. `q8_0` needs flash attention. */
  kvType: 'f16' | 'q8_0'
  flashAttention: boolean
  /** What encodes images on a CPU. ggml takes the place of ONNX Runtime where that is not installed. */
  visionRuntime: 'onnx' | 'ggml'
  /** Weights of the image encoder in ONNX Runtime. */
  visionPrecision: 'fp32' | 'int8'
}
