import type { LibraryHandle } from 'koffi'

/** An address inside native memory. koffi gives null for C's NULL, so what may be NULL is typed so. */
export type Pointer = bigint & { readonly pointer: unique symbol }

type Native = (...args: never[]) => unknown

/** Declares one C function. The TypeScript type is our word for what the C signature means. */
export const declare = <F extends Native>(library: LibraryHandle, signature: string): F =>
  library.func(signature) as unknown as F
