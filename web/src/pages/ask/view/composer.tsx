import { createRef, type RefObject } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { Icon } from '../../../ui/icon.tsx'
import { callsOf, isRunning, type Question } from '../state/conversation.ts'
import { areLoaded, current, path } from '../state/conversations.ts'
import { addFiles, clearNext, type Draft, next, refused } from '../state/draft.ts'
import { accepted, additions, noAdditions } from '../state/inputs.ts'
import { takes } from '../state/models.ts'
import { settingsProblem } from '../state/parameters.ts'
import { prepared, putAway } from '../state/recipes.ts'
import { ask } from '../state/run.ts'
import { stop } from '../state/running.ts'
import { panel } from './panels.ts'
import { Strip } from './strip.tsx'

/** The field of the next question. */
const field = createRef<HTMLTextAreaElement>()

export const focusComposer = (): void => focusOn(field)

/** On a phone the keyboard would cover the page. */
function focusOn(text: RefObject<HTMLTextAreaElement | null>): void {
  if (matchMedia('(pointer: fine)').matches) text.current?.focus()
}

/** Where the next question is written. */
export function Composer() {
  const last = path.value.at(-1)
  const answers = last?.columns.flatMap(({ answers, shown }) => answers[shown] ?? []) ?? []
  const arriving = answers.filter(isRunning)
  const wantsResult = answers.some((answer) => callsOf(answer).length > 0)
  const send = (question: Question): void => {
    ask(question)
    clearNext()
    putAway()
  }
  useEffect(focusComposer, [current.value.id])
  return (
    <div class="composer">
      {refused.value !== '' && (
        <p class="small refused" role="alert">
          {refused.value}
        </p>
      )}
      <RecipeNote />
      <Editor
        draft={next}
        field={field}
        label="Question"
        placeholder={wantsResult ? 'The result of the call…' : 'Ask about a picture…'}
        onSend={send}
        stop={arriving.length > 0 ? () => arriving.forEach(stop) : undefined}
      />
    </div>
  )
}

/** A recipe that is not for the model that is chosen says so. */
function RecipeNote() {
  const recipe = prepared.value
  if (recipe === null || current.value.models.some((id) => recipe.models.includes(id))) return null
  return (
    <p class="small dim recipe-note">
      “{recipe.title}” is for models like {recipe.models.slice(0, 2).join(' and ')}.{' '}
      <a href="/library" data-page>
        Models
      </a>
    </p>
  )
}

interface EditorProps {
  draft: Draft
  field?: RefObject<HTMLTextAreaElement | null>
  label: string
  placeholder?: string
  onSend: (question: Question) => void
  onCancel?: () => void
  /** Stops what is arriving; while it is, nothing is sent. */
  stop?: (() => void) | undefined
}

/** A question and its pictures, in the making. */
export function Editor({ draft, field: given, label, placeholder = '', onSend, onCancel, stop }: EditorProps) {
  const own = useRef<HTMLTextAreaElement>(null)
  const field = given ?? own
  // Who rewrites a question has pressed a button that is gone.
  useEffect(() => {
    if (onCancel !== undefined) field.current?.focus()
  }, [])
  const problem = settingsProblem(current.value.settings)
  const isEmpty = draft.text.value.trim() === '' && draft.pictures.value.length === 0
  const isWhole = !isEmpty && draft.arriving.value === 0
  // What is asked before the conversations are read would be lost when they are.
  const isReady = areLoaded.value && current.value.models.length > 0
  const canSend = isWhole && isReady && problem === undefined && stop === undefined
  const send = (): void => {
    if (canSend) onSend({ text: draft.text.value, pictures: draft.pictures.value })
  }
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <Strip draft={draft} onEmpty={() => focusOn(field)} />
      <textarea
        ref={field}
        rows={1}
        dir="auto"
        aria-label={label}
        placeholder={placeholder}
        value={draft.text.value}
        onInput={(event) => {
          draft.text.value = event.currentTarget.value
        }}
        onKeyDown={(event) => {
          if (isComposing(event)) return
          if (event.key === 'Escape' && onCancel !== undefined) onCancel()
          // On a phone the enter key is the only way to a new line.
          if (event.key !== 'Enter' || event.shiftKey || matchMedia('(pointer: coarse)').matches) return
          event.preventDefault()
          send()
        }}
      />
      <div class="tools">
        <FilePicker draft={draft} label={additions()} icon="image" />
        {takes('image') && <FilePicker draft={draft} label="Take a photograph" icon="camera" />}
        {problem !== undefined && (
          <button type="button" class="button quiet problem small" onClick={() => panel.show('settings')}>
            Settings: {problem}
          </button>
        )}
        <span class="space" />
        {onCancel !== undefined && (
          <button type="button" class="button quiet" onClick={onCancel}>
            Cancel
          </button>
        )}
        {stop === undefined ? (
          <button type="submit" class="button primary icon" aria-label="Send" disabled={!canSend}>
            <Icon name="send" />
          </button>
        ) : (
          <button type="button" class="button icon" aria-label="Stop" onClick={stop}>
            <Icon name="stop" />
          </button>
        )}
      </div>
    </form>
  )
}

/** Whether an input method takes the key. Safari ends the composition before the Enter that confirms it, whose code is 229. */
export const isComposing = ({ isComposing, keyCode }: KeyboardEvent): boolean => isComposing || keyCode === 229

/** @param label undefined: nothing can be added, and the button says why */
function FilePicker({ draft, label, icon }: { draft: Draft; label: string | undefined; icon: 'image' | 'camera' }) {
  const input = useRef<HTMLInputElement>(null)
  const isCamera = icon === 'camera'
  const said = label ?? noAdditions()
  return (
    <>
      <button
        type="button"
        class={`button quiet icon${isCamera ? ' camera' : ''}`}
        aria-label={said}
        title={said}
        disabled={label === undefined}
        onClick={() => input.current?.click()}
      >
        <Icon name={icon} />
      </button>
      <input
        ref={input}
        type="file"
        accept={isCamera ? 'image/*' : accepted()}
        multiple={!isCamera}
        {...(isCamera ? { capture: 'environment' as const } : {})}
        hidden
        tabIndex={-1}
        aria-label={said}
        onChange={(event) => {
          void addFiles(draft, event.currentTarget.files ?? [])
          event.currentTarget.value = ''
        }}
      />
    </>
  )
}
