import { signal } from '@preact/signals'
import { stored } from '../../../stored.ts'

const wide = matchMedia('(min-width: 64rem)')

/** The list of conversations stays open where there is room for it. */
const listKept = stored('oriel.list', 'open')
const list = signal(wide.matches && listKept.value === 'open')
const settings = signal(false)

/** What is open beside the conversation. */
export const panel = {
  list,
  settings,
  show(which: 'list' | 'settings'): void {
    panel[which].value = true
  },
  toggle(which: 'list' | 'settings'): void {
    panel[which].value = !panel[which].value
    if (which === 'list' && wide.matches) listKept.value = list.value ? 'open' : 'closed'
  },
}

/** Whether panels stand beside the conversation; else they lie over it. */
export const isWide = signal(wide.matches)
wide.addEventListener('change', () => {
  isWide.value = wide.matches
  if (!wide.matches) list.value = false
})
