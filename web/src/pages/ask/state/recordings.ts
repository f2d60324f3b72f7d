/** What this browser can tell of a video or audio. */
export interface Recording {
  /** px; 0: audio, or a kind that this browser does not play. */
  readonly width: number
  readonly height: number
  /** 0: not known. */
  readonly seconds: number
  /** A data: URL of a frame; empty: there is none. */
  readonly poster: string
}

const unknown: Recording = { width: 0, height: 0, seconds: 0, poster: '' }

/** Of a poster. */
const mostEdge = 320
/** A browser may wait forever for a frame of a damaged file. */
const longestWait = 5000

/** Reads what is known of a file without playing it. A file that this browser does not play may be one that the server reads. */
export async function recordingIn(file: Blob, kind: 'video' | 'audio'): Promise<Recording> {
  const url = URL.createObjectURL(file)
  const element = document.createElement(kind)
  element.muted = true
  element.preload = 'auto'
  try {
    const loaded = event(element, 'loadeddata')
    element.src = url
    await loaded
    const seconds = await lengthOf(element)
    if (!(element instanceof HTMLVideoElement)) return { ...unknown, seconds }
    const { videoWidth: width, videoHeight: height } = element
    // The first frame of many videos is black.
    const there = event(element, 'seeked')
    element.currentTime = Math.min(1, seconds / 2)
    await there
    return { width, height, seconds, poster: posterOf(element) }
  } catch {
    return unknown
  } finally {
    element.removeAttribute('src')
    element.load()
    URL.revokeObjectURL(url)
  }
}

/** What a browser records does not say how long it is: its end does. */
async function lengthOf(element: HTMLMediaElement): Promise<number> {
  if (Number.isFinite(element.duration)) return element.duration
  const known = event(element, 'durationchange')
  element.currentTime = 1e9
  await known.catch(() => {})
  return Number.isFinite(element.duration) ? element.duration : 0
}

function posterOf(video: HTMLVideoElement): string {
  const { videoWidth, videoHeight } = video
  const scale = Math.min(1, mostEdge / Math.max(videoWidth, videoHeight))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(videoWidth * scale))
  canvas.height = Math.max(1, Math.round(videoHeight * scale))
  canvas.getContext('2d')?.drawImage(video, 0, 0, canvas.width, canvas.height)
  return canvas.toDataURL('image/jpeg', 0.8)
}

const event = (element: HTMLMediaElement, name: 'loadeddata' | 'durationchange' | 'seeked'): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(reject, longestWait)
    element.addEventListener(name, () => resolve(clearTimeout(timer)), { once: true })
    element.addEventListener('error', () => reject(clearTimeout(timer)), { once: true })
  })
