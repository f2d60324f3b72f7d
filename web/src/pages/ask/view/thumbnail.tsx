import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { Icon } from '../../../ui/icon.tsx'
import type { Picture } from '../state/conversation.ts'
import { isDocument, urlOf } from '../state/files.ts'
import { lookingModel, pictureOf } from '../state/preview.ts'

/** A picture as this browser shows it, or as the server does where it cannot: HEIC, TIFF, the pages of a PDF. */
export function Thumbnail({ picture, alt }: { picture: Picture; alt: string }) {
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
