import { useSignal } from '@preact/signals'
import { announce } from './announce.tsx'
import { Icon } from './icon.tsx'

/** Puts a text on the clipboard. Pages that were not loaded over TLS, from another machine, have only the old way. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text)
  const field = document.createElement('textarea')
  field.value = text
  // Within an open dialog, which lets nothing outside of it have the focus.
  const place = document.activeElement?.closest('dialog') ?? document.body
  const before = document.activeElement
  place.append(field)
  field.select()
  document.execCommand('copy')
  field.remove()
  if (before instanceof HTMLElement) before.focus()
}

/** A button that copies a text. @param what it is, for its label: `the code` */
export function CopyButton({ text, what }: { text: string | (() => string); what: string }) {
  const copied = useSignal(false)
  const copy = async () => {
    await copyText(typeof text === 'string' ? text : text())
    copied.value = true
    announce('Copied.')
    setTimeout(() => {
      copied.value = false
    }, 1500)
  }
  return (
    <button type="button" class="button quiet" aria-label={`Copy ${what}`} onClick={() => void copy()}>
      <Icon name={copied.value ? 'check' : 'copy'} />
      {copied.value ? 'Copied' : 'Copy'}
    </button>
  )
}
