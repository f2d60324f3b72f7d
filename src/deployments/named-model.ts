import type { AttachmentSource } from '../media/index.ts'
import type { AdapterCard } from '../models/index.ts'
import type { Ask, Settings } from './ask.ts'
import type { Backend } from './backend.ts'
import type { Embedder, Served } from './embedder.ts'

/** A model that a request names. It is looked up once, whatever is asked of it then. */
export interface NamedModel {
  /** The model's own. With an adapter it is that of its base. */
  readonly id: string
  /** The adapter that the name means. */
  readonly adapter?: AdapterCard | undefined
  /**
   * The model, ready to answer. It is loaded if necessary, and stays loaded until the signal aborts, which must happen at the
   * end of the request.
   * @throws OrielError what is wrong with the attachments; `overloaded` when the wait is too long or after `close`; why it cannot be loaded
   */
  backend(signal: AbortSignal, options?: UseOptions): Promise<Backend>
  /** The model, ready to embed, as `backend` has it. @throws OrielError as `backend` does */
  embedder(signal: AbortSignal, options?: UseOptions): Promise<Embedder>
  /** Loads it, whatever it does, and keeps it as `backend` does. @throws OrielError as `backend` does */
  hold(signal: AbortSignal, options?: UseOptions): Promise<Served>
}

export interface UseOptions {
  /** How long to wait for the model. Default: `loading.timeoutMs`. */
  timeoutMs?: number
  /** Attachments of the request. They are checked before the model loads, and their downloads begin meanwhile. */
  attachments?: readonly AttachmentSource[]
  settings?: Pick<Settings, 'wantsBoxes' | 'isolation' | 'affinity'>
  /** What is asked: it goes to the replica that has seen it before. */
  prompt?: Ask['prompt']
  client?: string
  /** Called if the request has to wait until the model is loaded. */
  onCold?: () => void
  /** Whether a model of this server may answer in the place of another, and errors may name it. Default: every one. */
  knows?: (id: string) => boolean
  /** Whether the model is unloaded after this use of it, unless others use it. */
  unload?: boolean
}
