import type { Metadata } from '../gguf/index.ts'
import type { Modality } from './graph/source.ts'

/**
 * The family of one half of a projector (mmproj), as the file names it: one name for both halves, or one for each.
 * @returns null if the file has no such half
 */
export function halfOf(metadata: Metadata, modality: Modality): string | null {
  const hears = metadata.boolean('clip.has_audio_encoder', false)
  // Only files that hear too, or nothing else, say whether they see.
  const has = modality === 'audio' ? hears : metadata.boolean('clip.has_vision_encoder', !hears)
  return has
    ? metadata.string('clip.projector_type', metadata.string(`clip.${modality}.projector_type`, 'unnamed'))
    : null
}
