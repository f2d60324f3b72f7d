import { type TensorPlan, type Value, writeGguf } from '../../support/gguf-file.ts'
import { epsilon, width as textWidth } from './decoder.ts'
import { headsOf, sized, soundLayers } from './tower.ts'
import { each, linear, matrix, norm } from './weights.ts'

/** A small audio file of random weights. */
export interface AudioPlan {
  /** `clip.projector_type` */
  type: string
  width: number
  bands: number
  layers?: number
  /** Additional tensors of a layer. */
  more?: (part: (name: string) => string) => TensorPlan[]
  /** Whether the layers are something else than a usual transformer's: `more` has all of their tensors. */
  isOther?: boolean
  metadata?: Record<string, Value>
  /** Tensors in addition to the layers. */
  tensors: readonly TensorPlan[]
}

export interface AudioHalf {
  metadata: Record<string, Value>
  tensors: TensorPlan[]
}

/** The metadata and tensors of the audio half of a file. */
export function audioHalf(plan: AudioPlan): AudioHalf {
  const { type, width, bands, layers = soundLayers, more, isOther = false } = plan
  const feedForward = sized(2, 4) * width
  const metadata: Record<string, Value> = {
    'clip.has_audio_encoder': { bool: true },
    'clip.audio.projector_type': { string: type },
    'clip.audio.num_mel_bins': { u32: bands },
    'clip.audio.embedding_length': { u32: width },
    'clip.audio.feed_forward_length': { u32: feedForward },
    'clip.audio.block_count': { u32: layers },
    'clip.audio.attention.head_count': { u32: headsOf(width) },
    'clip.audio.attention.layer_norm_epsilon': { f32: epsilon },
    'clip.audio.projection_dim': { u32: textWidth },
    ...plan.metadata,
  }
  const usual = (part: (name: string) => string): TensorPlan[] => [
    ...norm(part('ln1'), width),
    ...norm(part('ln2'), width),
    ...linear(part('attn_q'), width, width),
    // Whisper's keys have no bias.
    matrix(`${part('attn_k')}.weight`, width, width),
    ...linear(part('attn_v'), width, width),
    ...linear(part('attn_out'), width, width),
    ...linear(part('ffn_up'), width, feedForward),
    ...linear(part('ffn_down'), feedForward, width),
  ]
  const tensors = [
    ...plan.tensors,
    ...each(layers, (layer) => {
      const part = (name: string) => `a.blk.${layer}.${name}`
      return [...(isOther ? [] : usual(part)), ...(more?.(part) ?? [])]
    }),
  ]
  return { metadata, tensors }
}

/** Writes a file that has nothing but an audio half. */
export function writeAudio(file: string, plan: AudioPlan): void {
  const { metadata, tensors } = audioHalf(plan)
  const general = { 'general.architecture': { string: 'clip' }, 'general.name': { string: 'a test' } }
  writeGguf(file, { ...general, 'clip.use_gelu': { bool: true }, ...metadata }, tensors, 3)
}
