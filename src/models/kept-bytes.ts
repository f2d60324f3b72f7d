import type { GgufHeader } from '../gguf/index.ts'
import type { DecoderFacts } from './fit.ts'

/**
 * What a decoder keeps of the tokens that it has read: keys and values for each token, and in the layers of a hybrid decoder
 * a state for each sequence. The formulas are those of llama.cpp's src/llama-hparams.cpp: `n_embd_k_gqa`, `n_embd_r`,
 * `n_embd_s`. If the file does not say the number of heads, keys and values are taken to be as wide as the model.
 */
export function keptBytes(header: GgufHeader, { architecture, layers, width }: DecoderFacts) {
  const value = (key: string) => header.metadata.get(`${architecture}.${key}`)
  const number = (key: string): number | undefined => {
    const found = value(key)
    return typeof found === 'number' ? found : undefined
  }
  const convolutions = header.tensors.filter(({ name }) => isConvolution.test(name))
  const stateful = new Set(convolutions.map(({ name }) => layerOf(name)))
  const reading = new Set(header.tensors.filter(({ name }) => isKeys.test(name)).map(({ name }) => layerOf(name)))
  const heads = number('attention.head_count') ?? 1
  const headsEach = value('attention.head_count_kv')
  const shared = typeof headsEach === 'number' ? headsEach : heads
  const each = typeof headsEach === 'object' ? headsEach.numbers : undefined
  // A hybrid decoder has no keys in most layers.
  const keyHeads = each?.reduce((sum, count) => sum + count, 0) ?? (stateful.size > 0 ? reading.size : layers) * shared
  const keys = number('attention.key_length') ?? width / Math.max(1, heads)
  const values = number('attention.value_length') ?? width / Math.max(1, heads)
  const columns = convolutions.reduce((sum, { shape: [kernel = 1, channels = 0] }) => sum + (kernel - 1) * channels, 0)
  const matrix = (number('ssm.state_size') ?? 0) * (number('ssm.inner_size') ?? 0)
  return {
    // Mamba and RWKV have no attention.
    bytesPerToken: heads === 0 ? 0 : keyHeads * (keys + values) * 2,
    bytesPerSequence: (columns + stateful.size * matrix) * 4,
  }
}

const isConvolution = /^blk\.\d+\.(ssm_conv1d|shortconv\.conv)\.weight$/
const isKeys = /^blk\.\d+\.attn_k\.weight$/
const layerOf = (name: string): string => name.split('.')[1] ?? ''
