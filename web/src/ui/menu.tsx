import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useId, useLayoutEffect, useRef } from 'preact/hooks'

interface MenuProps {
  /** What the button is for; its text, if it has one, begins with the same words. */
  label: string
  /** What the button shows. */
  button: ComponentChildren
  buttonClass?: string
  /** At which end of the button the menu begins. */
  align?: 'start' | 'end'
  /** Whether the menu opens above its button. */
  above?: boolean
  onButtonKeyDown?: (event: KeyboardEvent) => void
  onOpen?: () => void
  children: ComponentChildren
}

/** A button that opens a menu. Arrow keys go through it; Escape, a choice and a click elsewhere close it. */
export function Menu(props: MenuProps) {
  const { label, button, buttonClass = 'button quiet icon', align = 'start', above = false, children } = props
  const open = useSignal(false)
  const root = useRef<HTMLDivElement>(null)
  const opener = useRef<HTMLButtonElement>(null)
  const list = useRef<HTMLDivElement>(null)
  const id = useId()

  const items = (): HTMLElement[] => [
    ...(list.current?.querySelectorAll<HTMLElement>('[role^="menuitem"]:not(:disabled)') ?? []),
  ]
  const close = (back: boolean): void => {
    open.value = false
    if (back) opener.current?.focus()
  }
  useLayoutEffect(() => {
    if (!open.value) return
    const follow = (): void => {
      if (list.current !== null && opener.current !== null) place(list.current, opener.current, align, above)
    }
    follow()
    const all = items()
    const first = all.find((item) => item.ariaChecked === 'true') ?? all[0]
    first?.focus()
    const outside = (event: Event): void => {
      if (!root.current?.contains(event.target as Node)) close(false)
    }
    document.addEventListener('pointerdown', outside)
    document.addEventListener('scroll', follow, true)
    addEventListener('resize', follow)
    return () => {
      document.removeEventListener('pointerdown', outside)
      document.removeEventListener('scroll', follow, true)
      removeEventListener('resize', follow)
    }
  }, [open.value])

  const onKeyDown = (event: KeyboardEvent): void => {
    const all = items()
    const at = all.indexOf(document.activeElement as HTMLElement)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key]
    if (event.key === 'Tab') close(false)
    if (to === undefined && event.key !== 'Escape') return
    if (to === undefined) close(true)
    else all.at(to % all.length)?.focus()
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <div class="menu" ref={root}>
      <button
        ref={opener}
        type="button"
        class={buttonClass}
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={open.value}
        aria-controls={id}
        onKeyDown={props.onButtonKeyDown}
        onClick={() => {
          if (!open.value) props.onOpen?.()
          open.value = !open.value
        }}
      >
        {button}
      </button>
      {open.value && (
        <div
          ref={list}
          id={id}
          class="menu-list"
          role="menu"
          tabIndex={-1}
          aria-label={label}
          onKeyDown={onKeyDown}
          onClick={(event) => {
            if ((event.target as Element).closest('[role^="menuitem"]') !== null) close(true)
          }}
        >
          {children}
        </div>
      )}
    </div>
  )
}

/** Puts a list above or below its button, wholly within the window. */
function place(list: HTMLElement, opener: HTMLElement, align: 'start' | 'end', above: boolean): void {
  const { top, bottom, left, right } = opener.getBoundingClientRect()
  const { offsetWidth: width, offsetHeight: height } = list
  const room = { above: top - gap - edge, below: innerHeight - bottom - gap - edge }
  const isAbove = above ? room.above >= height || room.above > room.below : room.below < height && room.above > height
  const within = (at: number, length: number, whole: number): number =>
    Math.max(edge, Math.min(at, whole - length - edge))
  list.style.left = `${within(align === 'end' ? right - width : left, width, innerWidth)}px`
  list.style.top = `${within(isAbove ? top - gap - height : bottom + gap, height, innerHeight)}px`
}

/** Between a list and its button, and between a list and the edge of the window, in px. */
const [gap, edge] = [4, 8]

interface ItemProps {
  onChoose: () => void
  /** Of several items one is chosen. */
  checked?: boolean
  disabled?: boolean
  children: ComponentChildren
}

export const MenuItem = ({ onChoose, checked, disabled = false, children }: ItemProps) => (
  <button
    type="button"
    class="menu-item"
    role={checked === undefined ? 'menuitem' : 'menuitemradio'}
    tabIndex={-1}
    disabled={disabled}
    {...(checked === undefined ? {} : { 'aria-checked': checked })}
    onClick={onChoose}
  >
    {children}
  </button>
)
