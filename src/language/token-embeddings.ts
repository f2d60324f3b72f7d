import { closeSync, openSync } from 'node:fs'
import { openNative } from '../native/index.ts'
import { readAt } from '../read-at.ts'

/**
 * Decoders whose input for a token is exactly its row of `token_embd.weight`. Others scale the row, or use the token itself
 * in later layers (`build_inp_embd` and what follows it in llama.cpp's src/models).
 */
const plain = new Set(['llama', 'mistral3', 'phi3', 'internlm2', 'qwen2', 'qwen2vl', 'qwen3', 'qwen3vl', 'smollm3'])

/**
 * Opens the token embeddings, rows of the decoder's first matrix in its file, for batches that hold tokens and embeddings: the C API takes either in one batch, and two
 * batches read all weights twice.
 * @param architecture `general.architecture` of the file
 * @param width numbers in one embedding of a batch; a shorter row is padded with zeros, as in llama.cpp
 * @returns null if the result would not be exact, or the file lacks the tensor, which a split model may have elsewhere
 */
export function openTokenEmbeddings(file: string, architecture: string | null, width: number) {
  if (architecture === null || !plain.has(architecture)) return null
  const { ggml } = openNative()
  const opened = ggml.openGguf(file)
  if (opened === null) return null
  const { gguf, context } = opened
  const tensor = ggml.findTensor(context, 'token_embd.weight')
  if (tensor === null) {
    ggml.freeGguf(gguf)
    ggml.free(context)
    return null
  }
  const index = Array.from({ length: ggml.tensorCount(gguf) }, (_, at) => at).find(
    (at) => ggml.tensorName(gguf, at) === 'token_embd.weight',
  )
  const start = Number(ggml.dataOffset(gguf)) + Number(ggml.tensorOffset(gguf, index ?? 0))
  ggml.freeGguf(gguf)
  const rows = ggml.outerCount(tensor)
  const bytes = ggml.tensorBytes(tensor) / rows
  const columns = Number(ggml.elementCount(tensor)) / rows
  const descriptor = openSync(file, 'r')
  return {
    /** `[width]` */
    of(token: number): Float32Array {
      // Fast: llama.cpp has mapped the same pages.
      const raw = readAt(
        descriptor,
        new Uint8Array(bytes),
        start + token * bytes,
        () => new Error('the model file was truncated'),
      )
      const row = ggml.convert(tensor, raw, columns)
      if (columns === width) return row
      const padded = new Float32Array(width)
      padded.set(row)
      return padded
    },
    close(): void {
      closeSync(descriptor)
      ggml.free(context)
    },
  }
}
