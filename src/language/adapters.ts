import { OrielError } from '../errors.ts'
import { type Llama, type LlamaContext, type Model, type NativeAdapter, openNative } from '../native/index.ts'

/** A loaded adapter (LoRA). */
export interface Adapter {
  readonly native: NativeAdapter
  /** Tokens of the prompt from whose last place on it is to be used (aLoRA); empty: it is used from the first token on. */
  readonly invocation: readonly number[]
  /** Whether it changes the embeddings of tokens, so that these cannot be looked up beforehand. */
  readonly embeds: boolean
}

/** What rows are computed with. */
export interface UsedAdapter {
  readonly adapter: Adapter
  readonly scale: number
}

/** The adapters of one context, which computes with one of them at a time. */
export function openAdapters(llama: Llama, model: Model, context: LlamaContext) {
  let used: UsedAdapter | null = null
  const use = (next: UsedAdapter | null): void => {
    if (next?.adapter === used?.adapter && next?.scale === used?.scale) return
    llama.useAdapter(context, next?.adapter.native ?? null, next?.scale ?? 0)
    used = next
  }
  return {
    /**
     * Reads a file off the event loop. Not to be called during a decode.
     * @throws OrielError `precondition_failed`
     */
    async load(file: string): Promise<Adapter> {
      const native = await llama.loadAdapter(model, file)
      if (native === null) throw notLoaded()
      return { native, invocation: llama.invocation(native), embeds: hasTensor(file, 'token_embd.weight.lora_a') }
    },
    /** What the next decodes compute with; null: the model alone. Not to be called during a decode. */
    use,
    /** Not to be called during a decode. */
    free(adapter: Adapter): void {
      if (used?.adapter === adapter) use(null)
      llama.freeAdapter(adapter.native)
    },
  }
}

function hasTensor(file: string, name: string): boolean {
  const { ggml } = openNative()
  const opened = ggml.openGguf(file)
  if (opened === null) return false
  const found = ggml.findTensor(opened.context, name) !== null
  ggml.freeGguf(opened.gguf)
  ggml.free(opened.context)
  return found
}

/** llama.cpp gives no reason. What is wrong with a file's tensors was found before. */
const notLoaded = (): OrielError =>
  new OrielError('precondition_failed', 'The adapter could not be loaded: its file has changed, or memory is short.', {
    param: 'model',
    code: 'adapter_not_loaded',
  })
