import type { LibraryHandle } from 'koffi'

/** An address inside native memory. koffi gives null for C's NULL, so what may be NULL is typed so. */
export type Pointer = bigint & { readonly pointer: unique symbol }

type Native = (...args: never[]) => unknown

/**
 * Binds the C functions of a library, each by its C signature and by the TypeScript type that says what the signature
 * means: `functionsOf(library)<(model: Model) => number>('int32 llama_model_n_layer(void*)')`.
 */
export const functionsOf =
  (library: LibraryHandle) =>
  <F extends Native>(signature: string): F =>
    library.func(signature) as unknown as F
