import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { Dialog } from './dialog.tsx'
import { Failure } from './failure.tsx'

interface FormDialogProps {
  title: string
  /** What the button says that does it, and the one that does not. */
  action: string
  cancel?: string
  /** Whether nothing brings back what it takes away. */
  isDanger?: boolean
  isDisabled?: boolean
  /** Does it, with what was typed. The dialog shows why it was not done. */
  onSubmit: (form: FormData) => Promise<void>
  onClose: () => void
  children: ComponentChildren
}

/** Asks before something is done, and what for. */
export function FormDialog(props: FormDialogProps) {
  const { title, action, cancel = 'Cancel', isDanger = false, isDisabled = false, onSubmit, onClose, children } = props
  const failure = useSignal('')
  const isBusy = useSignal(false)
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    if (isBusy.value) return
    isBusy.value = true
    failure.value = ''
    try {
      await onSubmit(new FormData(event.currentTarget as HTMLFormElement))
    } catch (error) {
      failure.value = error instanceof Error ? error.message : String(error)
    }
    isBusy.value = false
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="form" onSubmit={(event) => void submit(event)}>
        {children}
        <Failure text={failure.value} />
        <p class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            {cancel}
          </button>
          <button type="submit" class={isDanger ? 'button danger' : 'button primary'} disabled={isDisabled}>
            {action}
          </button>
        </p>
      </form>
    </Dialog>
  )
}
