import { useSignal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { Icon } from '../../../ui/icon.tsx'
import { Menu, MenuItem } from '../../../ui/menu.tsx'
import type { Picture } from '../state/conversation.ts'
import { type Draft, movePicture, removePicture, replaceFile } from '../state/draft.ts'
import { inputOf, isDocument } from '../state/files.ts'
import { accepted } from '../state/inputs.ts'
import { choosePages, showSeen } from './dialogs.tsx'
import { calledOf, Thumbnail } from './thumbnail.tsx'

interface StripProps {
  draft: Draft
  /** The last picture was removed. */
  onEmpty: () => void
}

/** The pictures of a question that is being written. They are sorted by dragging and by the arrow keys. */
export function Strip({ draft, onEmpty }: StripProps) {
  const pictures = draft.pictures.value
  const arriving = draft.arriving.value
  const dragged = useSignal<string | null>(null)
  const picker = useRef<HTMLInputElement>(null)
  const replaced = useRef('')
  const list = useRef<HTMLOListElement>(null)
  const removed = useRef<number | undefined>(undefined)
  const remove = (picture: Picture, index: number): void => {
    removed.current = index
    removePicture(draft, picture)
  }
  // The focus goes from a picture that is gone to the next one.
  useLayoutEffect(() => {
    const at = removed.current
    if (at === undefined) return
    removed.current = undefined
    const left = [...(list.current?.querySelectorAll<HTMLElement>('button.thumbnail') ?? [])]
    const next = left[at] ?? left.at(-1)
    if (next === undefined) onEmpty()
    else next.focus()
  }, [pictures])
  if (pictures.length + arriving === 0) return null
  return (
    <>
      <ol class="strip" aria-label="Pictures of the question" ref={list}>
        {pictures.map((picture, index) => (
          <li
            key={picture.id}
            class={dragged.value === picture.id ? 'dragged' : ''}
            draggable
            onDragStart={(event) => {
              dragged.value = picture.id
              event.dataTransfer?.setData('text/plain', picture.name)
            }}
            onDragEnd={() => {
              dragged.value = null
            }}
            onDragOver={(event) => {
              if (dragged.value === null) return
              event.preventDefault()
              movePicture(draft, dragged.value, index)
            }}
          >
            <Menu
              label={labelOf(picture, index, pictures.length)}
              buttonClass="thumbnail"
              above
              button={<Thumbnail picture={picture} alt="" />}
              onButtonKeyDown={(event) => {
                if (event.key === 'ArrowLeft') movePicture(draft, picture.id, index - 1)
                else if (event.key === 'ArrowRight') movePicture(draft, picture.id, index + 1)
                else if (event.key === 'Delete' || event.key === 'Backspace') remove(picture, index)
                else return
                event.preventDefault()
              }}
            >
              <p class="menu-note small dim">{picture.name}</p>
              {isDocument(picture) && (
                <MenuItem onChoose={() => choosePages(draft, picture)}>
                  <Icon name="page" />
                  Choose pages…
                </MenuItem>
              )}
              {inputOf(picture) === 'image' && (
                <MenuItem onChoose={() => showSeen(picture)}>
                  <Icon name="eye" />
                  What the model sees
                </MenuItem>
              )}
              <MenuItem
                onChoose={() => {
                  replaced.current = picture.id
                  picker.current?.click()
                }}
              >
                <Icon name="again" />
                Replace…
              </MenuItem>
              <MenuItem disabled={index === 0} onChoose={() => movePicture(draft, picture.id, index - 1)}>
                <Icon name="left" />
                Move to the left
              </MenuItem>
              <MenuItem
                disabled={index === pictures.length - 1}
                onChoose={() => movePicture(draft, picture.id, index + 1)}
              >
                <Icon name="right" />
                Move to the right
              </MenuItem>
              <MenuItem onChoose={() => remove(picture, index)}>
                <Icon name="bin" />
                Remove
              </MenuItem>
            </Menu>
            {picture.pages !== '' && <span class="badge small figure">{picture.pages}</span>}
            <button
              type="button"
              class="take-away"
              aria-label={`Remove ${picture.name}`}
              onClick={() => remove(picture, index)}
            >
              <Icon name="close" />
            </button>
          </li>
        ))}
        {Array.from({ length: arriving }, (_, index) => (
          <li key={index} class="thumbnail arriving">
            <span class="no-picture" role="img" aria-label="A file is being read">
              <Icon name="image" />
            </span>
          </li>
        ))}
      </ol>
      <input
        ref={picker}
        type="file"
        accept={accepted()}
        hidden
        tabIndex={-1}
        aria-label="Another picture"
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? []
          if (file !== undefined) void replaceFile(draft, replaced.current, file)
          event.currentTarget.value = ''
        }}
      />
    </>
  )
}

const labelOf = (picture: Picture, index: number, count: number): string =>
  count === 1
    ? `${calledOf(picture)}: options`
    : `${calledOf(picture)}, ${index + 1} of ${count}: options. The arrow keys move it.`
