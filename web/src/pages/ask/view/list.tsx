import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { announce } from '../../../ui/announce.tsx'
import { FormDialog } from '../../../ui/form-dialog.tsx'
import { Icon } from '../../../ui/icon.tsx'
import { Menu, MenuItem } from '../../../ui/menu.tsx'
import type { Conversation } from '../state/conversation.ts'
import { areLoaded, conversations, current, forget, open, startNew, update } from '../state/conversations.ts'
import { putAway } from '../state/recipes.ts'
import { isFull } from '../state/store.ts'
import { focusComposer, isComposing } from './composer.tsx'
import { isWide, panel } from './panels.ts'

/** Few people need it. */
const transfer = () => import('../state/transfer.ts')
type Transfer = Awaited<ReturnType<typeof transfer>>

/** The conversations of this browser. */
export function ConversationList() {
  const searched = useSignal('')
  const problem = useSignal('')
  const picker = useRef<HTMLInputElement>(null)
  const words = searched.value.trim().toLowerCase()
  const found = conversations.value.filter((one) => words === '' || textOf(one).includes(words))
  const exportBy = async (write: (it: Transfer) => Promise<void>): Promise<void> => {
    problem.value = ''
    await transfer()
      .then(write)
      .catch(() => {
        problem.value = 'Nothing was exported. The pictures may be too large for this browser.'
      })
  }
  const leave = (): void => {
    if (!isWide.value) panel.list.value = false
  }
  return (
    <nav class="list" aria-label="Conversations">
      <div class="list-head">
        <button
          type="button"
          class="button"
          onClick={() => {
            startNew()
            putAway()
            leave()
          }}
        >
          <Icon name="add" />
          New
        </button>
        <Menu label="All conversations: options" align="end" button={<Icon name="more" />}>
          <MenuItem onChoose={() => picker.current?.click()}>
            <Icon name="upload" />
            Import from a file…
          </MenuItem>
          <MenuItem disabled={conversations.value.length === 0} onChoose={() => void exportBy((it) => it.exportAll())}>
            <Icon name="download" />
            Export all to a file
          </MenuItem>
        </Menu>
        <input
          ref={picker}
          type="file"
          accept="application/json,.json"
          hidden
          tabIndex={-1}
          aria-label="Import from a file"
          onChange={async (event) => {
            const [file] = event.currentTarget.files ?? []
            event.currentTarget.value = ''
            if (file !== undefined) problem.value = await (await transfer()).importFile(file)
          }}
        />
      </div>
      {problem.value !== '' && (
        <p class="note bad small" role="alert">
          {problem.value}
        </p>
      )}
      {isFull.value && <NotKept />}
      {conversations.value.length > 0 && (
        <label class="search">
          <Icon name="search" />
          <input
            class="input"
            type="search"
            placeholder="Search"
            aria-label="Search in conversations"
            value={searched.value}
            onInput={(event) => {
              searched.value = event.currentTarget.value
            }}
          />
        </label>
      )}
      {found.length > 0 && (
        <ul class="entries">
          {found.map((one) => (
            <Entry
              key={one.id}
              conversation={one}
              onOpen={leave}
              onExport={() => void exportBy((it) => it.exportOne(one))}
            />
          ))}
        </ul>
      )}
      {areLoaded.value && found.length === 0 && (
        <p class="small dim hint">
          {words === '' ? 'Conversations appear here. They stay in this browser.' : 'Nothing is found.'}
        </p>
      )}
    </nav>
  )
}

/** That what is asked is forgotten with the page. */
export const NotKept = () => (
  <p class="note small">
    This browser does not keep conversations now: it has no room left, or its window is private. Export what you want to
    keep.
  </p>
)

/** One function for good: a new one would be called, and select anew, each time that the list is drawn. */
const selectAll = (field: HTMLInputElement | null): void => field?.select()

interface EntryProps {
  conversation: Conversation
  onOpen: () => void
  onExport: () => void
}

function Entry({ conversation, onOpen, onExport }: EntryProps) {
  const { id, title } = conversation
  const isRenamed = useSignal(false)
  const isDeleted = useSignal(false)
  const rename = (text: string): void => {
    isRenamed.value = false
    if (text.trim() !== '') update(id, (before) => ({ ...before, title: text.trim() }))
  }
  if (isRenamed.value)
    return (
      <li>
        <input
          ref={selectAll}
          class="input"
          aria-label="Name of the conversation"
          defaultValue={title}
          onBlur={(event) => rename(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (isComposing(event)) return
            if (event.key === 'Enter') event.currentTarget.blur()
            if (event.key !== 'Escape') return
            event.stopPropagation()
            isRenamed.value = false
          }}
        />
      </li>
    )
  return (
    <li class={current.value.id === id ? 'entry current' : 'entry'}>
      <button
        type="button"
        class="open"
        dir="auto"
        title={title}
        {...(current.value.id === id ? { 'aria-current': 'true' as const } : {})}
        onClick={() => {
          open(id)
          onOpen()
        }}
      >
        {title}
      </button>
      <Menu label={`${title}: options`} align="end" button={<Icon name="more" />}>
        <MenuItem
          onChoose={() => {
            isRenamed.value = true
          }}
        >
          <Icon name="edit" />
          Rename
        </MenuItem>
        <MenuItem onChoose={onExport}>
          <Icon name="download" />
          Export to a file
        </MenuItem>
        <MenuItem
          onChoose={() => {
            isDeleted.value = true
          }}
        >
          <Icon name="bin" />
          Delete…
        </MenuItem>
      </Menu>
      {isDeleted.value && (
        <FormDialog
          title="Delete this conversation?"
          action="Delete"
          cancel="Keep it"
          isDanger
          onSubmit={async () => {
            await forget(id)
            announce('Deleted.')
            focusComposer()
          }}
          onClose={() => {
            isDeleted.value = false
          }}
        >
          <p>“{title}” and its pictures are removed from this browser. There is no other copy.</p>
        </FormDialog>
      )}
    </li>
  )
}

/** What a search looks through. */
const textOf = ({ title, turns }: Conversation): string =>
  [
    title,
    ...turns.flatMap(({ question, columns }) => [
      question.text,
      ...columns.flatMap(({ answers }) => answers.map(({ text }) => text)),
    ]),
  ]
    .join('\n')
    .toLowerCase()
