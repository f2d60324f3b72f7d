import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { clock } from '../../../ui/figures.ts'
import { Icon } from '../../../ui/icon.tsx'
import type { Picture } from '../state/conversation.ts'
import { inputOf, isDocument, urlOf } from '../state/files.ts'
import { lookingModel, pictureOf } from '../state/preview.ts'

/** A frame of a video, the name of audio, and how long they are. */
function RecordingThumbnail({ picture, alt }: { picture: Picture; alt: string }) {
  const { name, poster = '', seconds = 0, width, height } = picture
  return (
    <span class="recording">
      {poster === '' ? (
        <span class="no-picture" role="img" aria-label={alt}>
          <Icon name={inputOf(picture) === 'video' ? 'video' : 'sound'} />
          <span>{name}</span>
        </span>
      ) : (
        <img src={poster} alt={alt} width={width} height={height} draggable={false} />
      )}{' '}
      {seconds > 0 && <span class="badge small figure">{clock(seconds)}</span>}
    </span>
  )
}

/** What the button of a file is called: what is seen on it, and more. */
export const calledOf = ({ name, seconds = 0 }: Picture): string => (seconds > 0 ? `${name}, ${clock(seconds)}` : name)

/** A picture, or a frame of a video. */
export const Thumbnail = (props: { picture: Picture; alt: string }) =>
  inputOf(props.picture) === 'image' ? <PictureThumbnail {...props} /> : <RecordingThumbnail {...props} />

/** A picture as this browser shows it, or as the server does where it cannot: HEIC, TIFF, the pages of a PDF. */
function PictureThumbnail({ picture, alt }: { picture: Picture; alt: string }) {
  const url = useSignal<string | undefined>(undefined)
  const { id, width, height, pages } = picture
  const isShown = width > 0
  // The server shows what a model sees: not before it has said which there are.
  const isKnown = isShown || lookingModel() !== undefined
  useEffect(() => {
    let gone = false
    const found = isShown ? urlOf(id) : pictureOf(picture)
    void found.then((it) => {
      if (!gone) url.value = it
    })
    return () => {
      gone = true
    }
  }, [id, isKnown, pages])
  if (url.value !== undefined)
    return <img src={url.value} alt={alt} draggable={false} {...(isShown ? { width, height } : {})} />
  if (isShown) return <span class="no-picture" style={{ aspectRatio: `${width} / ${height}` }} />
  return (
    <span class="no-picture" role="img" aria-label={alt}>
      <Icon name={isDocument(picture) ? 'page' : 'image'} />
      <span>{picture.name}</span>
    </span>
  )
}
