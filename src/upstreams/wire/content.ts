import type { Attachment, AttachmentPart, ContentPart } from '../../deployments/index.ts'
import type { PreparedFile } from '../attachments.ts'
import { Characters } from '../body.ts'
import type { Fields } from './fields.ts'
import { notThere } from './refusal.ts'
import type { Variant } from './variants.ts'
import type { PreparedAsk } from './wire.ts'

/** Content as OpenAI has it. Text alone is a string, since not every server takes a list. */
export function contentOf(content: readonly ContentPart[], ask: PreparedAsk, variant: Variant): unknown {
  if (content.every((part) => part.kind === 'text')) return content.map((part) => part.text).join('')
  return content.flatMap((part): unknown[] =>
    part.kind === 'text' ? [{ type: 'text', text: part.text }] : attachmentParts(part, ask, variant),
  )
}

function attachmentParts(part: AttachmentPart, ask: PreparedAsk, variant: Variant): unknown[] {
  const { attachment, prepared } = attachmentAt(part, ask)
  const { files } = prepared
  if (part.kind === 'image') {
    const options = imageOptions(attachment, variant)
    return files.map((file) => ({ type: 'image_url', image_url: { url: urlOf(file), ...options } }))
  }
  if (part.kind === 'video') {
    const url = prepared.asFrames ? framesUrl(files, attachment) : files.map(urlOf)[0]
    return [{ type: 'video_url', video_url: { url, ...(variant.bounds === 'image' ? watching(attachment) : {}) } }]
  }
  return files.map((file) => {
    const clip = variant.bounds === 'image' && attachment.clip !== undefined ? { clip: attachment.clip } : {}
    if (variant.audio === 'audio_url' || file.url !== undefined)
      return { type: 'audio_url', audio_url: { url: urlOf(file), ...clip } }
    return {
      type: 'input_audio',
      input_audio: { data: new Characters(file.base64), format: file.format, ...clip },
    }
  })
}

/** An attachment that content names, and its files. */
export function attachmentAt({ attachment: index }: AttachmentPart, { attachments, prepared }: PreparedAsk) {
  const [attachment, files] = [attachments[index], prepared[index]]
  if (attachment === undefined || files === undefined) throw new Error('the content names an attachment without files')
  return { attachment, prepared: files }
}

export const urlOf = (file: PreparedFile): string | Characters =>
  file.url ?? new Characters('data:', file.type, ';base64,', file.base64)

/** A list of frames, as vLLM takes it. */
function framesUrl(files: readonly PreparedFile[], { param }: Attachment): Characters {
  const frames = files.map(({ base64 }) => {
    if (base64 === undefined) throw notThere(param, 'frames by their URLs')
    return base64
  })
  return new Characters(
    'data:video/jpeg;base64,',
    ...frames.flatMap((frame, at) => (at === 0 ? [frame] : [',', frame])),
  )
}

function imageOptions({ detail, bounds, param }: Attachment, variant: Variant): Fields {
  const isBound = bounds !== undefined
  if (isBound && variant.bounds === null) throw notThere(param, 'bounds of images')
  return {
    ...(detail === 'auto' || !variant.detail ? {} : { detail }),
    ...(isBound && variant.bounds === 'image' ? boundFields(bounds) : {}),
  }
}

const boundFields = ({ leastPixels, mostPixels, mostTokens }: NonNullable<Attachment['bounds']>): Fields => ({
  ...(leastPixels === undefined ? {} : { min_pixels: leastPixels }),
  ...(mostPixels === undefined ? {} : { max_pixels: mostPixels }),
  ...(mostTokens === undefined ? {} : { max_tokens: mostTokens }),
})

/** Bounds that hold for all images of a request, as vLLM has them. @throws OrielError if the images have different ones */
export function requestBounds({ attachments }: PreparedAsk, { bounds: where }: Variant): Fields {
  const images = attachments.filter(({ kind }) => kind === 'image')
  const [first] = images.filter(({ bounds }) => bounds !== undefined)
  if (where !== 'request' || first?.bounds === undefined) return {}
  const fields = boundFields(first.bounds)
  if (fields.max_tokens !== undefined) throw notThere(first.param, 'limit of the tokens of an image')
  const same = JSON.stringify(fields)
  const other = images.find(({ bounds }) => JSON.stringify(bounds && boundFields(bounds)) !== same)
  if (other !== undefined) throw notThere(other.param, 'bounds that differ from those of another image')
  return { mm_processor_kwargs: fields }
}

/** The part of a video that is meant, as Oriel has it. */
const watching = ({ clip, frames }: Attachment): Fields => ({
  ...(clip === undefined ? {} : { clip }),
  ...(frames?.most === undefined ? {} : { max_frames: frames.most }),
  ...(frames?.perSecond === undefined ? {} : { sample_fps: frames.perSecond }),
  ...(frames?.longestEdge === undefined ? {} : { spatial_limit: frames.longestEdge }),
  ...(frames?.choose === undefined ? {} : { choose: frames.choose }),
})
