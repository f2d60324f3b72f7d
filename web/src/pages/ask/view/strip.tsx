import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { Icon } from '../../../ui/icon.tsx'
import { Menu, MenuItem } from '../../../ui/menu.tsx'
import type { Picture } from '../state/conversation.ts'
import { type Draft, movePicture, removePicture, replaceFile } from '../state/draft.ts'
import { inputOf, isDocument } from '../state/files.ts'
import { accepted } from '../state/inputs.ts'
import { choosePages, showSeen } from './dialogs.tsx'
import { calledOf, Thumbnail } from './thumbnail.tsx'

/** The pictures of a question that is being written. They are sorted by dragging and by the arrow keys. */
export function Strip({ draft }: { draft: Draft }) {
  const pictures = draft.pictures.value
  const dragged = useSignal<string | null>(null)
  const picker = useRef<HTMLInputElement>(null)
  const replaced = useRef('')
  if (pictures.length === 0) return null
  return (
    <>
      <ol class="strip" aria-label="Pictures of the question">
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
                else if (event.key === 'Delete' || event.key === 'Backspace') removePicture(draft, picture.id)
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
              <MenuItem onChoose={() => removePicture(draft, picture.id)}>
                <Icon name="bin" />
                Remove
              </MenuItem>
            </Menu>
            {picture.pages !== '' && <span class="badge small figure">{picture.pages}</span>}
            <button
              type="button"
              class="take-away"
              aria-label={`Remove ${picture.name}`}
              onClick={() => removePicture(draft, picture.id)}
            >
              <Icon name="close" />
            </button>
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
