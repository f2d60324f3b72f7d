import { functionsOf } from './function.ts'
import type { Gguf, Tensor } from './ggml.ts'
import type { Libraries } from './libraries.ts'

/** The part of gguf that describes a new file from others. Names are its own without the prefix. */
export function bindGgufFiles({ ggmlBase }: Libraries) {
  const base = functionsOf(ggmlBase)
  const metaSize = base<(gguf: Gguf) => number | bigint>('size_t gguf_get_meta_size(void*)')
  const metaData = base<(gguf: Gguf, into: Uint8Array) => void>('void gguf_get_meta_data(void*, void*)')
  return {
    /** Of a file without pairs and tensors. */
    empty: base<() => Gguf>('void* gguf_init_empty()'),
    /** Adds all pairs of another. */
    setKv: base<(gguf: Gguf, from: Gguf) => void>('void gguf_set_kv(void*, const void*)'),
    removeKey: base<(gguf: Gguf, key: string) => void>('void gguf_remove_key(void*, const char*)'),
    setU32: base<(gguf: Gguf, key: string, value: number) => void>('void gguf_set_val_u32(void*, const char*, uint32)'),
    addTensor: base<(gguf: Gguf, like: Tensor) => void>('void gguf_add_tensor(void*, const void*)'),
    /** The rows of the tensor must be multiples of the type's block. */
    setTensorType: base<(gguf: Gguf, name: string, type: number) => void>(
      'void gguf_set_tensor_type(void*, const char*, int)',
    ),
    /** What precedes the tensors in a file, with the padding behind it. */
    metaData(gguf: Gguf): Uint8Array {
      const bytes = new Uint8Array(Number(metaSize(gguf)))
      metaData(gguf, bytes)
      return bytes
    },
  }
}
