import type { AttachmentSource, Needs } from './attachment.ts'
import type { PartHead, Span, Wanted, WantedVideo } from './decoder/protocol.ts'

/**
 * What is wanted of each source of a request.
 * @param mostFrames of all videos together: each may have an equal share, or as many as its request says
 */
export function wantedBy(
  { longestEdge, sound = false, video = bySecond }: Needs,
  sources: readonly AttachmentSource[],
  mostFrames: number,
): (source: AttachmentSource) => Wanted {
  const videos = sources.filter(({ kind }) => kind === 'video')
  const asked = videos.reduce((sum, { frames }) => sum + (frames?.most ?? 0), 0)
  const open = videos.filter(({ frames }) => frames?.most === undefined).length
  const share = Math.max(1, Math.floor((mostFrames - asked) / Math.max(1, open)))
  return ({ kind, pages = null, clip: { start = 0, end = null } = {}, frames = {} }) => {
    const clip: Span = { start, end }
    if (kind === 'image') return { kind, pages, longestEdge }
    if (kind === 'audio') return { kind, clip }
    return {
      ...{ kind, clip, sound, only: null },
      most: frames.most ?? Math.min(video.most, share),
      perSecond: frames.perSecond ?? null,
      usualPerSecond: video.perSecond,
      longestEdge: Math.min(frames.longestEdge ?? Number.POSITIVE_INFINITY, 2 * (video.longestEdge ?? longestEdge)),
      choose: frames.choose ?? 'even',
    } satisfies WantedVideo
  }
}

const bySecond = { perSecond: 1, most: 32 }

/** The same file again, of which only these parts are needed. */
export function wantedOnly(wanted: Wanted, heads: readonly PartHead[]): Wanted {
  const images = heads.filter((head) => head.kind === 'image')
  if (wanted.kind === 'audio') return wanted
  if (wanted.kind === 'image') return { ...wanted, pages: images.map(({ page }) => page).join(',') }
  return { ...wanted, only: { times: images.map(({ time }) => time), sound: heads.length > images.length } }
}
