import type { GgufHeader } from '../gguf/index.ts'
import type { DecoderFacts } from './fit.ts'

/**
 * What a decoder keeps of the tokens that it has read: keys and values for each token, and in the layers of a hybrid decoder
 * a state for each sequence. The formulas are those of llama.cpp's src/llama-hparams.cpp: `n_embd_k_gqa`, `n_embd_r`,
 * `n_embd_s`, `has_kv`. If the file does not say the number of heads, keys and values are taken to be as wide as the model.
 */
export function keptBytes(header: GgufHeader, { architecture, layers, width }: DecoderFacts) {
  const value = (key: string) => header.metadata.get(`${architecture}.${key}`)
  const number = (key: string): number | undefined => {
    const found = value(key)
    return typeof found === 'number' ? found : undefined
  }
  const outputs = new Map(header.tensors.map(({ name, shape: [, rows] }) => [name, rows]))
  const convolutions = header.tensors.filter(({ name }) => isConvolution.test(name))
  const stateful = new Set(convolutions.map(({ name }) => layerOf(name)))
  const heads = number('attention.head_count') ?? 1
  const headsEach = value('attention.head_count_kv')
  const keyHeads = (layer: number): number => {
    if (typeof headsEach === 'object') return headsEach.numbers?.[layer] ?? 0
    return typeof headsEach === 'number' ? headsEach : heads
  }
  const keys = number('attention.key_length') ?? width / Math.max(1, heads)
  // With latent attention, values are made of what is kept for the keys.
  const isLatent = number('attention.key_length_mla') !== undefined
  const values = isLatent ? 0 : (number('attention.value_length') ?? width / Math.max(1, heads))
  const keeping = keepingLayers(architecture, layers, number('attention.shared_kv_layers') ?? 0)

  /** Numbers that a layer keeps of a token. Layers with a sliding window may have other heads, which their matrices show. */
  const keptIn = (layer: number): number => {
    const keyRows = outputs.get(`blk.${layer}.attn_k.weight`)
    if (keyRows !== undefined) return keyRows + (outputs.get(`blk.${layer}.attn_v.weight`) ?? keyRows)
    // A hybrid decoder has no keys in most layers.
    return stateful.size > 0 ? 0 : keyHeads(layer) * (keys + values)
  }
  const kept = Array.from({ length: keeping }, (_, layer) => keptIn(layer)).reduce((sum, count) => sum + count, 0)
  const columns = convolutions.reduce((sum, { shape: [kernel = 1, channels = 0] }) => sum + (kernel - 1) * channels, 0)
  const matrix = (number('ssm.state_size') ?? 0) * (number('ssm.inner_size') ?? 0)
  return {
    // Mamba and RWKV have no attention.
    bytesPerToken: heads === 0 ? 0 : kept * 2,
    bytesPerSequence: (columns + stateful.size * matrix) * 4,
  }
}

/** Layers with keys and values of their own: the last ones of Gemma 3n and 4 read those of earlier ones. */
const keepingLayers = (architecture: string, layers: number, shared: number): number =>
  architecture === 'gemma3n' ? Math.min(layers, 20) : Math.max(0, layers - shared)

const isConvolution = /^blk\.\d+\.(ssm_conv1d|shortconv\.conv)\.weight$/
const layerOf = (name: string): string => name.split('.')[1] ?? ''
