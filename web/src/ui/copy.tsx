import { useSignal } from '@preact/signals'
import { announce } from './announce.tsx'
import { Icon } from './icon.tsx'

/** A button that copies a text. @param what it is, for its label: `the code` */
export function CopyButton({ text, what }: { text: string | (() => string); what: string }) {
  const copied = useSignal(false)
  const copy = async () => {
    await navigator.clipboard.writeText(typeof text === 'string' ? text : text())
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
