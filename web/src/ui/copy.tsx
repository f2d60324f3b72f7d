import { useSignal } from '@preact/signals'
import { announce } from './announce.tsx'
import { Icon } from './icon.tsx'

/** Puts a text on the clipboard. @throws Error if this browser does not let it */
export async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    copyTheOldWay(text)
  }
}

/** Pages that were not loaded over TLS, from another machine, have no other. */
function copyTheOldWay(text: string): void {
  const field = document.createElement('textarea')
  field.value = text
  // Within an open dialog, which lets nothing outside of it have the focus.
  const place = document.activeElement?.closest('dialog') ?? document.body
  const before = document.activeElement
  place.append(field)
  field.select()
  const isCopied = document.execCommand('copy')
  field.remove()
  if (before instanceof HTMLElement) before.focus()
  if (!isCopied) throw new Error('This browser does not let the page copy.')
}

/** A button that copies a text, once there is one. @param what it is, for its label: `the code` */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const said = useSignal('Copy')
  const copy = async (): Promise<void> => {
    said.value = await copyText(text).then(
      () => 'Copied',
      () => 'Not allowed',
    )
    announce(`${said.value}.`)
    setTimeout(() => {
      said.value = 'Copy'
    }, 1500)
  }
  return (
    <button
      type="button"
      class="button quiet"
      aria-label={`Copy ${what}`}
      disabled={text === ''}
      onClick={() => void copy()}
    >
      <Icon name={said.value === 'Copied' ? 'check' : 'copy'} />
      {said}
    </button>
  )
}
