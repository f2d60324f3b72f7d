import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { Announcer } from './announce.tsx'
import { Icon } from './icon.tsx'

interface DialogProps {
  title: string
  /** Called when it is closed, by the person or by its parent. */
  onClose: () => void
  wide?: boolean
  children: ComponentChildren
}

/**
 * A modal dialog, open while it is rendered. Escape and a click beside it close it, and the focus goes back. What is announced
 * meanwhile is said within: screen readers do not hear the rest of the page.
 */
export function Dialog({ title, onClose, wide = false, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null)
  const heading = useId()
  // A text that is selected from within may end beside it.
  const isPressedBeside = useRef(false)
  useEffect(() => {
    const before = document.activeElement
    const dialog = element.current
    dialog?.showModal()
    return () => {
      const now = document.activeElement
      // Somebody who is quick may have begun to write elsewhere.
      const isElsewhere = now !== null && now !== document.body && !dialog?.contains(now)
      if (before instanceof HTMLElement && !isElsewhere) before.focus()
    }
  }, [])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the escape key closes it, too
    <dialog
      ref={element}
      class={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={heading}
      onClose={onClose}
      onPointerDown={(event) => {
        isPressedBeside.current = event.target === element.current
      }}
      onClick={(event) => {
        if (event.target === element.current && isPressedBeside.current) element.current?.close()
      }}
    >
      <header>
        <h2 id={heading}>{title}</h2>
        <button type="button" class="button quiet icon" aria-label="Close" onClick={() => element.current?.close()}>
          <Icon name="close" />
        </button>
      </header>
      <div class="body">{children}</div>
      <Announcer />
    </dialog>
  )
}
