import './style/index.css'
import { useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { apiKey, keyWanted, ServerError } from '../../server/client.ts'
import { Dialog } from '../../ui/dialog.tsx'
import { useDroppedFiles } from '../../ui/drop.ts'
import { Icon } from '../../ui/icon.tsx'
import { Refused } from '../../ui/refused.tsx'
import { answersOf, isRunning } from './state/conversation.ts'
import { areLoaded, current, load, path } from './state/conversations.ts'
import { addFiles, dropLost, receiving } from './state/draft.ts'
import { additions, noAdditions } from './state/inputs.ts'
import { loadModels, models, modelsError, takeLinkedModel, watchModels } from './state/models.ts'
import { isFull } from './state/store.ts'
import { Composer } from './view/composer.tsx'
import { Dialogs, showCode } from './view/dialogs.tsx'
import { ConversationList, NotKept } from './view/list.tsx'
import { ModelPickers } from './view/model-picker.tsx'
import { isWide, panel } from './view/panels.ts'
import { Settings } from './view/settings.tsx'
import { Turn } from './view/turn.tsx'
import { Welcome } from './view/welcome.tsx'

/** Ask a model about pictures. */
export default function Page() {
  const isOver = useDroppedFiles((files) => void addFiles(receiving(), files))
  usePastedFiles((files) => void addFiles(receiving(), files))
  useEffect(() => {
    void load().then(dropLost).then(takeLinkedModel).then(loadModels)
  }, [apiKey.value])
  // While a model is being loaded, its progress is looked at often.
  const isLoading = models.value?.some(({ state }) => state === 'loading') ?? false
  useEffect(() => watchModels(isLoading ? 700 : 10_000), [isLoading])
  const beside = isWide.value
  return (
    <div
      class={`ask${beside && panel.list.value ? ' with-list' : ''}${beside && panel.settings.value ? ' with-settings' : ''}`}
    >
      {beside && panel.list.value && <ConversationList />}
      <div class="conversation">
        <Bar />
        <Thread />
        <Composer />
      </div>
      {beside && panel.settings.value && (
        <aside class="side" aria-label="Settings">
          <Settings />
        </aside>
      )}
      {!beside && panel.list.value && (
        <Dialog title="Conversations" onClose={() => panel.toggle('list')}>
          <ConversationList />
        </Dialog>
      )}
      {!beside && panel.settings.value && (
        <Dialog title="Settings" onClose={() => panel.toggle('settings')}>
          <Settings />
        </Dialog>
      )}
      {isOver && <div class="drop-here">{additions() === undefined ? noAdditions() : 'Drop files here'}</div>}
      <Dialogs />
    </div>
  )
}

function Bar() {
  const draft = receiving()
  const showDraft = (): void => {
    const last = path.value.at(-1)
    const isEmpty = draft.text.value.trim() === '' && draft.pictures.value.length === 0
    const question = { text: isEmpty ? 'Hello' : draft.text.value, pictures: draft.pictures.value }
    const [model = ''] = current.value.models
    if (isEmpty && last !== undefined)
      showCode({ question: last.question, before: path.value.slice(0, -1), column: 0, model })
    else showCode({ question, before: path.value, column: 0, model })
  }
  return (
    <header class="bar-top">
      <h1 class="hidden-text">{current.value.title || 'A new conversation'}</h1>
      <Toggle which="list" label="Conversations" icon="list" />
      <ModelPickers />
      <span class="space" />
      <button type="button" class="button quiet" aria-label="View code" onClick={showDraft}>
        <Icon name="code" />
        <span class="wide-only">Code</span>
      </button>
      <Toggle which="settings" label="Settings" icon="settings" />
    </header>
  )
}

const Toggle = ({ which, label, icon }: { which: 'list' | 'settings'; label: string; icon: 'list' | 'settings' }) => (
  <button
    type="button"
    class="button quiet icon"
    aria-label={label}
    title={label}
    aria-expanded={panel[which].value}
    onClick={() => panel.toggle(which)}
  >
    <Icon name={icon} />
  </button>
)

/** The turns. It stays at its end while an answer arrives, unless the person has scrolled up. */
function Thread() {
  const element = useRef<HTMLDivElement>(null)
  const isAtEnd = useSignal(true)
  const lastTop = useRef(0)
  const column = useRef<HTMLDivElement>(null)
  const turns = path.value
  useLayoutEffect(() => {
    const follow = new ResizeObserver(() => {
      if (isAtEnd.value && path.value.length > 0)
        element.current?.scrollTo({ top: element.current.scrollHeight, behavior: 'instant' })
    })
    if (column.current !== null) follow.observe(column.current)
    return () => follow.disconnect()
  }, [])
  const shownId = useRef('')
  // Who opens a conversation, or asks, wants to see its end. Who goes through its branches stays where they are.
  useLayoutEffect(() => {
    const isOpened = shownId.current !== current.value.id
    shownId.current = current.value.id
    if (!isOpened && !answersOf({ turns: turns.slice(-1) }).some(isRunning)) return
    isAtEnd.value = true
    element.current?.scrollTo({ top: turns.length === 0 ? 0 : element.current.scrollHeight, behavior: 'instant' })
  }, [current.value.id, turns.length])
  return (
    <div
      class="thread"
      ref={element}
      onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
        // An answer may have grown since this was scrolled to its end: only a person scrolls up.
        if (scrollTop + clientHeight > scrollHeight - 48) isAtEnd.value = true
        else if (scrollTop < lastTop.current) isAtEnd.value = false
        lastTop.current = scrollTop
      }}
    >
      <div class="column" ref={column}>
        <Problems />
        {areLoaded.value && turns.length === 0 && <Welcome />}
        {turns.map((turn, index) => (
          <Turn key={turn.after} turn={turn} isLast={index === turns.length - 1} />
        ))}
      </div>
      {!isAtEnd.value && (
        <button
          type="button"
          class="button to-end"
          aria-label="To the newest"
          onClick={() => element.current?.scrollTo({ top: element.current.scrollHeight })}
        >
          <Icon name="down" />
        </button>
      )}
    </div>
  )
}

function Problems() {
  const error = modelsError.value ?? (keyWanted.value ? new ServerError('This server wants a key.', 401) : undefined)
  return (
    <>
      {/* The list says so, too, where it is open. */}
      {isFull.value && !panel.list.value && <NotKept />}
      {error && <Refused error={error} again={() => void loadModels()} />}
    </>
  )
}

function usePastedFiles(take: (files: Iterable<File>) => void): void {
  useEffect(() => {
    const paste = (event: ClipboardEvent): void => {
      const files = event.clipboardData?.files
      // Cells of a sheet come as text and, as well, as a picture of it.
      if (files === undefined || files.length === 0 || event.clipboardData?.types.includes('text/plain')) return
      event.preventDefault()
      take(files)
    }
    addEventListener('paste', paste)
    return () => removeEventListener('paste', paste)
  }, [])
}
