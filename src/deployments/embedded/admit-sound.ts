import type { AttachmentSource, Loaded, Needs, Sound } from '../../media/index.ts'
import type { Ask, Attachment } from '../ask.ts'
import { PromptAttachments } from './attachments.ts'
import { type LayoutModel, layOut } from './layout.ts'
import type { VideoReading } from './videos.ts'

/**
 * Decides by the length of a sound whether to decode it: an hour of sound takes long. When all sounds together cannot fit the
 * model's context, they are laid out by their lengths, so the engine refuses them as it would afterwards; those of old turns
 * that are dropped, and all where tokens are only counted, need not be decoded. What else is attached is left out.
 * @param sources of the ask, as they are loaded
 */
export function soundAdmission(
  ask: Ask,
  sources: readonly Attachment[],
  model: LayoutModel,
  reading: VideoReading,
  { answers }: { answers: boolean },
): NonNullable<Needs['admitSound']> {
  const { engine } = model
  const longest = engine.model.inputs.audio?.longest ?? 0
  const lengths = new Map<AttachmentSource, Length>()
  return async (source, length) => {
    lengths.set(source, length)
    const samples = [...lengths.values()].reduce((sum, { samples }) => sum + samples, 0)
    if (samples <= longest) return true
    if (!answers) return false
    const known = sources.map((one) => standIn(lengths.get(one)))
    const attachments = new PromptAttachments(known, sources, reading)
    const { pieces } = await layOut(ask, attachments, model)
    const { maxTokens, overflow } = ask.settings
    await engine.fit({ prompt: pieces, client: ask.client, maxTokens, overflow })
    return sources.some((one, index) => one === source && attachments.pieces(index).some((own) => pieces.includes(own)))
  }
}

type Length = Pick<Sound, 'seconds' | 'samples'>

/** A sound of which only the length is known; or nothing, for what is yet to come. */
function standIn(length: Length | undefined): Loaded {
  const file = { bytes: 0, from: 'request', fetchMs: 0, decodeMs: 0 } as const
  if (length === undefined) return { ...file, kind: 'image', images: [], format: 'png', pagesInFile: 0 }
  const sound: Sound = { ...length, hash: '', decode: async () => new Float32Array(), letGo() {} }
  return { ...file, kind: 'audio', sound, format: 'wav' }
}
