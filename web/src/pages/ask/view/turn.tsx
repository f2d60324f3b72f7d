import { useRef } from 'preact/hooks'
import { Icon } from '../../../ui/icon.tsx'
import { Menu, MenuItem } from '../../../ui/menu.tsx'
import { type Picture, siblings, type Turn as TurnOf } from '../state/conversation.ts'
import { current, updateCurrent } from '../state/conversations.ts'
import { beginEdit, edits, endEdit, keepReadable } from '../state/draft.ts'
import { inputOf } from '../state/files.ts'
import { accepted } from '../state/inputs.ts'
import { askInstead } from '../state/run.ts'
import { Answer } from './answer.tsx'
import { Editor, focusComposer } from './composer.tsx'
import { showSeen } from './dialogs.tsx'
import { PictureFacts } from './picture-facts.tsx'
import { Switcher } from './switcher.tsx'
import { calledOf, Thumbnail } from './thumbnail.tsx'

/** A question with its pictures, and its answers below it. */
export function Turn({ turn, isLast }: { turn: TurnOf; isLast: boolean }) {
  const { question, columns } = turn
  const draft = edits.value.get(turn.id)
  const stopEditing = (): void => {
    endEdit(turn.id)
    focusComposer()
  }
  return (
    <article class="turn" aria-label={`Question: ${question.text.slice(0, 80)}`}>
      {draft !== undefined ? (
        <div class="composer within">
          <Editor
            draft={draft}
            label="Another wording of the question"
            onCancel={stopEditing}
            onSend={(changed) => {
              stopEditing()
              askInstead(turn, changed)
            }}
          />
        </div>
      ) : (
        <QuestionView turn={turn} />
      )}
      <div class={columns.length > 1 ? 'answers two' : 'answers'}>
        {columns.map((column, index) => (
          <Answer key={index} turn={turn} column={column} index={index} isLast={isLast} />
        ))}
      </div>
    </article>
  )
}

function QuestionView({ turn }: { turn: TurnOf }) {
  const { question } = turn
  const all = siblings(current.value, turn)
  const at = all.indexOf(turn)
  const pick = (to: number): void => {
    const id = all[to]?.id
    if (id !== undefined) updateCurrent((before) => ({ ...before, picked: { ...before.picked, [turn.after]: id } }))
  }
  return (
    <div class="question">
      {question.pictures.length > 0 && (
        <ul class="pictures" aria-label="Pictures">
          {question.pictures.map((picture, index) => (
            <li key={picture.id}>
              <OldPicture turn={turn} picture={picture} />
              <PictureFacts turn={turn} picture={picture} index={index} />
            </li>
          ))}
        </ul>
      )}
      {question.text !== '' && (
        <p class="said" dir="auto">
          {question.text}
        </p>
      )}
      <div class="actions">
        <Switcher what="questions" at={at} count={all.length} onPick={pick} />
        <button
          type="button"
          class="button quiet icon"
          aria-label="Edit the question"
          title="Edit"
          onClick={() => beginEdit(turn)}
        >
          <Icon name="edit" />
        </button>
      </div>
    </div>
  )
}

/** A picture that was asked about. It can be replaced, and the question is asked again. */
function OldPicture({ turn, picture }: { turn: TurnOf; picture: Picture }) {
  const picker = useRef<HTMLInputElement>(null)
  const replace = async (file: File): Promise<void> => {
    const [kept] = await keepReadable([file])
    if (kept === undefined) return
    const pictures = turn.question.pictures.map((one) => (one.id === picture.id ? kept : one))
    askInstead(turn, { ...turn.question, pictures })
  }
  return (
    <>
      <Menu
        label={`${calledOf(picture)}: options`}
        buttonClass="asked"
        button={<Thumbnail picture={picture} alt={picture.name} />}
      >
        {inputOf(picture) === 'image' && (
          <MenuItem onChoose={() => showSeen(picture)}>
            <Icon name="eye" />
            What the model saw
          </MenuItem>
        )}
        <MenuItem onChoose={() => picker.current?.click()}>
          <Icon name="again" />
          Replace and ask again…
        </MenuItem>
      </Menu>
      <input
        ref={picker}
        type="file"
        accept={accepted()}
        hidden
        tabIndex={-1}
        aria-label={`Another picture instead of ${picture.name}`}
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? []
          event.currentTarget.value = ''
          if (file !== undefined) void replace(file)
        }}
      />
    </>
  )
}
